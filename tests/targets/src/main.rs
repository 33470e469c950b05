//! Replays inputs: `cargo run -p phasegate-targets -- TARGET FILE…`, for what a fuzzer found.

use std::process::ExitCode;

use phasegate_targets::TARGETS;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        let known = TARGETS.map(|(name, _)| name).join(", ");
        eprintln!("{name:?} is no target: name one of {known}, and files");
        return ExitCode::FAILURE;
    };
    for file in arguments {
        match std::fs::read(&file) {
            Ok(input) => target(&input),
            Err(error) => {
                eprintln!("{file} cannot be read: {error}");
                return ExitCode::FAILURE;
            }
        }
        println!("{file}: holds");
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests;
