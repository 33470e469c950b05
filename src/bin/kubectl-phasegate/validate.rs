//! `validate`: the rules of the definitions, applied to files without a cluster.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::failure::{FAILED, Failure};
use crate::offline::{self, Advice, Checked, Definitions, Files, Verdict};
use crate::output::{self, Data, Line, Tone, piece, plain};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate validate -f shop.yaml
  kubectl phasegate validate -f deploy/ -R        # in a pipeline: ends with 1 where an object is not valid
  helm template . | kubectl phasegate validate -f -

It says what the API server would say to `kubectl create`: types, bounds, missing and unknown fields, and the rules of \
the definitions that this plugin was built with; and what the operator would not start. Objects of other kinds are left out. What it cannot know is what the \
cluster's own policies and quotas say, whether a host is taken, and what is compared with the stored object. It notes what is \
valid and will not come out as it is written: quantities that are rounded, requests above limits.";

/// The arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// Which files.
    #[command(flatten)]
    files: Files,

    /// Print it for a program
    #[arg(short, long)]
    output: Option<Data>,
}

/// What `-o json` prints of an object.
#[derive(Debug, Serialize)]
struct Told {
    place: String,
    object: String,
    valid: bool,
    faults: Vec<ToldFault>,
    notes: Vec<Advice>,
}

#[derive(Debug, Serialize)]
struct ToldFault {
    field: String,
    message: String,
}

/// A line for each object, and one below it for each of its faults.
pub fn lines(checked: &Checked) -> Vec<Line> {
    let place = plain(format!("{}: ", checked.place));
    let title = plain(checked.title());
    match &checked.verdict {
        Verdict::NotOurs { kind } => {
            vec![Line(vec![place, piece(format!("{kind} is left out"), Tone::Faint)])]
        }
        Verdict::Checked { faults, .. } if faults.is_empty() => {
            vec![Line(vec![place, title, piece(" is valid", Tone::Good)])]
        }
        Verdict::Checked { faults, rules_left_out, .. } => {
            let told =
                faults.iter().map(|fault| Line(vec![plain(format!("  {}: ", fault.field)), plain(&fault.message)]));
            let left_out = rules_left_out
                .then(|| Line(vec![piece("  Its rules could not be asked: correct these first.", Tone::Faint)]));
            std::iter::once(Line(vec![place, title, piece(" is not valid", Tone::Bad)]))
                .chain(told)
                .chain(left_out)
                .collect()
        }
    }
}

/// Nothing where every object is valid, and otherwise how many are not.
///
/// # Errors
/// How many objects are not valid.
pub fn judge(checked: &[Checked]) -> Result<(), Failure> {
    let ours = checked.iter().filter(|checked| matches!(checked.verdict, Verdict::Checked { .. })).count();
    let wrong = checked.iter().filter(|checked| !checked.faults().is_empty()).count();
    if wrong == 0 {
        return Ok(());
    }
    let are = if wrong == 1 { "is" } else { "are" };
    Err(Failure::new(
        FAILED,
        format!("{wrong} of {ours} objects {are} not valid"),
        "Correct the fields that are named.",
    ))
}

/// What will not come out as it is written.
pub fn advice(checked: &[Checked]) -> Vec<String> {
    let told = |checked: &Checked| {
        let (place, title) = (checked.place.to_string(), checked.title());
        checked
            .advice()
            .into_iter()
            .map(move |Advice { field, message }| format!("{place}: {title}: {field}: {message}"))
    };
    checked.iter().flat_map(told).collect()
}

/// What is not asked of these objects, since it needs the stored ones to compare with.
fn notes(definitions: &Definitions, checked: &[Checked]) -> Vec<String> {
    let kinds: BTreeSet<&str> = checked.iter().filter_map(|checked| checked.object["kind"].as_str()).collect();
    let rules =
        kinds.iter().flat_map(|kind| definitions.rules_about_changes(kind).into_iter().map(move |rule| (kind, rule)));
    rules
        .map(|(kind, rule)| format!("of {kind} objects that exist already, the API server also asks: {rule}"))
        .collect()
}

/// Reads, checks and prints.
///
/// # Errors
/// When a file cannot be read, or an object is not valid.
pub fn run(arguments: &Validate) -> Result<(), Failure> {
    let definitions = offline::definitions()?;
    let checked = arguments.files.checked(&definitions)?;
    match arguments.output {
        Some(data) => output::print(&data.text(&checked.iter().filter_map(told).collect::<Vec<_>>())?)?,
        None => {
            let lines: Vec<Line> = checked.iter().flat_map(lines).collect();
            output::print(&output::text(&lines, output::colours()))?;
            advice(&checked).iter().chain(&notes(&definitions, &checked)).for_each(|note| offline::note(note));
        }
    }
    judge(&checked)
}

fn told(checked: &Checked) -> Option<Told> {
    let Verdict::Checked { faults, .. } = &checked.verdict else { return None };
    let told = |fault: &offline::Fault| ToldFault { field: fault.field.clone(), message: fault.message.clone() };
    Some(Told {
        place: checked.place.to_string(),
        object: checked.title(),
        valid: faults.is_empty(),
        faults: faults.iter().map(told).collect(),
        notes: checked.advice(),
    })
}
