//! Log lines.
//!
//! Invariant: others' words are in them as a line of visible characters, so that no line is forged and no terminal obeys one.

use std::fmt;
use std::io::{self, Stderr, Write};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::args::LogFormat;
use crate::shown;

/// How long a field of a line for people may be.
const LONGEST: usize = 4_000;

/// Sends log lines to stderr.
///
/// # Errors
/// When `filter` is no log filter.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is no log filter: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match format {
        LogFormat::Text => lines
            .with_writer(io::stderr)
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .init(),
        LogFormat::Json => lines.with_writer(|| Escaped(io::stderr())).json().flatten_event(true).init(),
    }
    Ok(())
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = shown::line(&format!("{value:?}"), LONGEST);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// Lines of JSON, in which hidden characters are escapes.
struct Escaped(Stderr);

impl Write for Escaped {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(shown::json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
