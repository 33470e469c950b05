//! Log lines.
//!
//! **Architecture invariant**: untrusted text reaches the log only as visible characters of one line, so that
//! it neither forges a line nor controls a terminal.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::util::SubscriberInitExt;

use super::args::LogFormat;
use crate::shown;

/// The maximum length of a field in a text line.
const LONGEST: usize = 4_000;

/// Sends log lines to stderr. The message of a panic is one as well, since it may quote an object.
///
/// # Errors
/// `filter` is not a valid log filter.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is not a log filter: {error}"))?;
    let colours = io::stderr().is_terminal();
    subscriber(format, filter, colours, io::stderr).init();
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let backtrace = (trace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(trace));
        tracing::error!(backtrace, "bug: {panic}");
    }));
    Ok(())
}

fn subscriber<O, W>(format: LogFormat, filter: EnvFilter, colours: bool, out: O) -> Box<dyn Subscriber + Send + Sync>
where
    O: Fn() -> W + Send + Sync + 'static,
    W: Write + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match format {
        LogFormat::Text => Box::new(
            lines.with_writer(out).with_ansi(colours).fmt_fields(debug_fn(write_field).delimited(" ")).finish(),
        ),
        LogFormat::Json => Box::new(lines.with_writer(move || Escaped(out())).json().flatten_event(true).finish()),
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = shown::line(&format!("{value:?}"), LONGEST);
    match field.name() {
        "message" => write!(writer, "{value}"),
        name => write!(writer, "{name}={value}"),
    }
}

/// Writes JSON lines in which hidden characters are escaped.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(shown::json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of an error of somebody's.
    fn logged(format: LogFormat, words: &str) -> String {
        let kept = Kept::default();
        let out = kept.clone();
        let subscriber = subscriber(format, EnvFilter::new("info"), false, move || out.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(gateway = "a/shop", error = %words, told = words, "it says {words}");
        });
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{200b}\u{2028}\n2026-01-01T00:00:00Z  INFO forged";

    #[test]
    fn a_line_for_people_is_one_line_whatever_others_wrote() {
        let line = logged(LogFormat::Text, HOSTILE);
        assert!(!line.trim_end().contains(shown::is_hidden), "{line:?}");
        let (_, told) = line.split_once("WARN ").unwrap();
        let words = "a[2J 2026-01-01T00:00:00Z INFO forged";
        assert!(told.starts_with(&format!("it says {words} gateway=\"a/shop\" error={words} told=\"a")), "{told}");
        assert!(logged(LogFormat::Text, &"a".repeat(1 << 20)).len() < 13_000);
    }

    /// The hook is the process's, so a process of its own panics.
    #[test]
    fn a_panic_is_a_line_as_well() {
        const PANICS: &str = "TEST_PANICS";
        if std::env::var_os(PANICS).is_some() {
            start(LogFormat::Json, "info").unwrap();
            let _ = std::panic::catch_unwind(|| panic!("{HOSTILE}"));
            return;
        }
        let mut myself = std::process::Command::new(std::env::current_exe().unwrap());
        myself.args(["--exact", "service::telemetry::tests::a_panic_is_a_line_as_well", "--nocapture"]);
        let output = myself.env(PANICS, "yes").env_remove("RUST_BACKTRACE").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let line: serde_json::Value =
            serde_json::from_str(told.lines().find(|line| line.contains("bug: ")).unwrap()).unwrap();
        assert!(line["message"].as_str().unwrap().ends_with(HOSTILE), "{line}");
        assert!(!told.contains(|char| shown::is_hidden(char) && char != '\n'), "{told:?}");
    }

    #[test]
    fn a_line_for_programs_says_what_others_wrote_in_escapes() {
        let line = logged(LogFormat::Json, HOSTILE);
        assert!(!line.trim_end().contains(shown::is_hidden), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&read["error"], &read["told"], &read["gateway"]),
            (&HOSTILE.into(), &HOSTILE.into(), &"a/shop".into())
        );
    }
}
