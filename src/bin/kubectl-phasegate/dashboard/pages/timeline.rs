//! The phases of a gateway as a picture, with a table of the same below it.

use maud::{Markup, html};

use super::{class, moment, words};
use crate::history::Step;
use crate::times;

/// The maximum number of phases in the picture. The table has all.
const PHASES: usize = 7;

/// The width that each phase has at least, in per cent.
const NARROWEST: f64 = 9.0;

/// The picture and the table.
pub fn of(steps: &[Step]) -> Markup {
    let hidden = steps.len().saturating_sub(PHASES);
    let drawn = steps.get(hidden..).unwrap_or_default();
    html! {
        svg.timeline role="img" aria-label=(description(drawn)) width="100%" height="64" {
            @for (step, (x, width)) in drawn.iter().zip(places(drawn)) {
                svg x=(percent(x)) y="0" width=(percent(width)) height="64" {
                    rect.(class(step.style())) x="1" y="20" width="100%" height="24" rx="3" {}
                    text x="3" y="13" { (step.phase.as_str()) }
                    text.faint x="3" y="60" { (lasted(step)) }
                }
            }
        }
        details {
            summary { @if steps.len() == 1 { "1 recorded phase" } @else { (steps.len()) " recorded phases" } }
            table {
                thead { tr { th scope="col" { "Phase" } th scope="col" { "Lasted" } th scope="col" { "Reason" } th scope="col" { "Since" } th scope="col" { "Details" } } }
                tbody {
                    @for step in steps.iter().rev() {
                        tr {
                            td { span.(class(step.style())) { (step.phase.as_str()) } " " span.faint { (step.state) } }
                            td { (lasted(step)) }
                            td { (words(&step.reason)) }
                            td { (moment(step.at)) }
                            td.text { (words(&step.message)) }
                        }
                    }
                }
            }
        }
    }
}

fn lasted(step: &Step) -> String {
    let lasted = times::seconds(step.seconds);
    if step.current { format!("{lasted} so far") } else { lasted }
}

fn description(steps: &[Step]) -> String {
    let parts: Vec<String> = steps.iter().map(|step| format!("{} {}", step.phase.as_str(), lasted(step))).collect();
    format!("Phases, oldest first: {}", parts.join(", "))
}

/// Where each phase begins and how wide it is, in per cent. The widths grow with the logarithm of the durations, since
/// a start lasts seconds and a gateway serves for weeks.
fn places(steps: &[Step]) -> Vec<(f64, f64)> {
    let weights: Vec<f64> = steps.iter().map(|step| (step.seconds.clamp(0, 1 << 40) as f64 + 1.0).ln()).collect();
    let all: f64 = weights.iter().sum();
    let free = 100.0 - NARROWEST * steps.len() as f64;
    let mut x = 0.0;
    let mut place = |weight: &f64| {
        let share = if all > 0.0 { weight / all } else { 1.0 / steps.len() as f64 };
        let width = NARROWEST + free * share;
        x += width;
        (x - width, width)
    };
    weights.iter().map(&mut place).collect()
}

fn percent(number: f64) -> String {
    format!("{number:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::steps;
    use crate::samples::{self, NOW};

    #[test]
    fn each_phase_has_its_place_and_the_picture_is_full() {
        for gateway in [samples::starting(), samples::started(), samples::timed_out()] {
            let steps = steps(&gateway, NOW);
            let places = places(&steps);
            let (x, width) = places.last().unwrap();
            assert!((x + width - 100.0).abs() < 0.01, "{places:?}");
            assert!(places.iter().all(|(_, width)| *width >= NARROWEST), "{places:?}");
        }
    }

    #[test]
    fn the_picture_is_described() {
        let picture = of(&steps(&samples::started(), NOW)).into_string();
        assert!(picture.contains("aria-label=\"Phases, oldest first: Starting 12s, Started 48s so far\""), "{picture}");
    }
}
