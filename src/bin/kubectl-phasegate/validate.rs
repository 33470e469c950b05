//! `validate`: applies the rules of the custom resource definitions to files, without a cluster.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::failure::{FAILED, Failure};
use crate::offline::{self, Advice, Checked, Definitions, Files, Verdict};
use crate::output::{self, Data, Line, Style, piece, plain};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  kubectl phasegate validate -f shop.yaml
  kubectl phasegate validate -f deploy/ -R        # in a pipeline: exit code 1 if an object is invalid
  helm template . | kubectl phasegate validate -f -

Checks what the API server checks on `kubectl create`: types, bounds, missing and unknown fields, and the CEL rules of \
this plugin's CustomResourceDefinitions; also checks values that the operator rejects. Skips objects of other kinds. \
Does not check the cluster's policies and quotas, host claims, and rules that compare with the stored object. Notes valid \
values that are rounded or will fail later, such as requests above limits.";

/// The arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Validate {
    /// Which files.
    #[command(flatten)]
    files: Files,

    /// Output format
    #[arg(short, long)]
    output: Option<Data>,
}

/// The output of `-o json` for an object.
#[derive(Debug, Serialize)]
struct ValidateOutput {
    place: String,
    object: String,
    valid: bool,
    faults: Vec<FaultOutput>,
    notes: Vec<Advice>,
}

#[derive(Debug, Serialize)]
struct FaultOutput {
    field: String,
    message: String,
}

/// A line for each object, and one below it for each of its faults.
pub fn lines(checked: &Checked) -> Vec<Line> {
    let place = plain(format!("{}: ", checked.place));
    let title = plain(checked.title());
    match &checked.verdict {
        Verdict::NotOurs { kind } => {
            vec![Line(vec![place, piece(format!("{kind} is skipped"), Style::Faint)])]
        }
        Verdict::Checked { faults, .. } if faults.is_empty() => {
            vec![Line(vec![place, title, piece(" is valid", Style::Good)])]
        }
        Verdict::Checked { faults, rules_left_out, .. } => {
            let told =
                faults.iter().map(|fault| Line(vec![plain(format!("  {}: ", fault.field)), plain(&fault.message)]));
            let left_out = rules_left_out
                .then(|| Line(vec![piece("  CEL rules were not evaluated: correct these first.", Style::Faint)]));
            std::iter::once(Line(vec![place, title, piece(" is not valid", Style::Bad)]))
                .chain(told)
                .chain(left_out)
                .collect()
        }
    }
}

/// Succeeds if every object is valid.
///
/// # Errors
/// The number of invalid objects.
pub fn judge(checked: &[Checked]) -> Result<(), Failure> {
    let ours = checked.iter().filter(|checked| matches!(checked.verdict, Verdict::Checked { .. })).count();
    let wrong = checked.iter().filter(|checked| !checked.faults().is_empty()).count();
    if wrong == 0 {
        return Ok(());
    }
    let are = if wrong == 1 { "is" } else { "are" };
    Err(Failure::new(FAILED, format!("{wrong} of {ours} objects {are} not valid"), "Correct the named fields."))
}

/// Fields of valid objects that will be stored or rendered differently.
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

/// The rules that cannot be checked, because they compare with the stored object.
fn notes(definitions: &Definitions, checked: &[Checked]) -> Vec<String> {
    let kinds: BTreeSet<&str> = checked.iter().filter_map(|checked| checked.object["kind"].as_str()).collect();
    let rules =
        kinds.iter().flat_map(|kind| definitions.rules_about_changes(kind).into_iter().map(move |rule| (kind, rule)));
    rules.map(|(kind, rule)| format!("on updates of {kind} objects, the API server also checks: {rule}")).collect()
}

/// Reads, checks and prints.
///
/// # Errors
/// A file cannot be read, or an object is invalid.
pub fn run(arguments: &Validate) -> Result<(), Failure> {
    let definitions = offline::definitions()?;
    let checked = arguments.files.checked(&definitions)?;
    match arguments.output {
        Some(data) => output::print(&data.text(&checked.iter().filter_map(told).collect::<Vec<_>>())?)?,
        None => {
            let lines: Vec<Line> = checked.iter().flat_map(lines).collect();
            output::print(&output::for_stdout(&lines))?;
            advice(&checked).iter().chain(&notes(&definitions, &checked)).for_each(|note| offline::note(note));
        }
    }
    judge(&checked)
}

fn told(checked: &Checked) -> Option<ValidateOutput> {
    let Verdict::Checked { faults, .. } = &checked.verdict else { return None };
    let told = |fault: &offline::Fault| FaultOutput { field: fault.field.clone(), message: fault.message.clone() };
    Some(ValidateOutput {
        place: checked.place.to_string(),
        object: checked.title(),
        valid: faults.is_empty(),
        faults: faults.iter().map(told).collect(),
        notes: checked.advice(),
    })
}
