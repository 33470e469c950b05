//! Writes to stdout and stderr.
//!
//! **Architecture invariant**: no other module of the plugin writes to stdout or stderr, and only a [`Shown`]
//! text is written.

use std::fmt;
use std::io::{self, Write, stderr, stdout};
use std::ops::Deref;

use phasegate::shown;

/// The maximum number of characters printed for a sentence or a cell. Objects may contain longer texts.
pub const LONGEST: usize = 2_000;

/// A text that is safe to send to a terminal: it contains no control sequences and nothing hidden from objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// A text with line breaks.
    pub fn text(text: &str) -> Self {
        Self(shown::lines(text).into_owned())
    }

    /// A text on one line.
    pub fn sentence(words: &str) -> Self {
        Self(format!("{}\n", shown::cut(&shown::piece(words), LONGEST)))
    }

    /// Control sequences of this program, around text that is already safe.
    pub fn sequence(text: String) -> Self {
        Self(text)
    }
}

impl Deref for Shown {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromIterator<Self> for Shown {
    fn from_iter<T: IntoIterator<Item = Self>>(texts: T) -> Self {
        Self(texts.into_iter().map(|text| text.0).collect())
    }
}

/// Writes to stdout.
///
/// # Errors
/// The text cannot be written.
pub fn print(text: &Shown) -> io::Result<()> {
    send(&mut stdout().lock(), text)
}

/// Writes to stderr. A failure to write is ignored.
pub fn tell(text: &Shown) {
    let _ = send(&mut stderr().lock(), text);
}

/// Prints the message of a panic like a sentence, since it may quote an object.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tell(&Shown::sentence(&format!("bug: {panic}")));
        tell(&Shown::sentence("hint: Report it."));
    }));
}

fn send(out: &mut impl Write, text: &Shown) -> io::Result<()> {
    out.write_all(text.0.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_neither_obeyed_nor_hidden() {
        assert_eq!(&*Shown::sentence("a\u{1b}[2Jb\nc\u{202e}d"), "a [2Jb c d\n");
        assert_eq!(&*Shown::text("a\u{9b}31mb\nc\u{202e}d\n"), "a 31mb\nc d\n");
        assert_eq!(Shown::sentence(&"a".repeat(9_999)).chars().count(), LONGEST + 2);
    }

    /// The hook is the process's, so a process of its own panics.
    #[test]
    fn a_panic_is_a_sentence() {
        const PANICS: &str = "TEST_PANICS";
        if std::env::var_os(PANICS).is_some() {
            report_panics();
            let _ = std::panic::catch_unwind(|| panic!("evil\u{1b}[2J\u{202e}\nwords"));
            return;
        }
        let mut myself = std::process::Command::new(std::env::current_exe().unwrap());
        myself.args(["--exact", "terminal::tests::a_panic_is_a_sentence", "--nocapture"]);
        let output = myself.env(PANICS, "yes").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("evil [2J  words\nhint: Report it.\n"), "{told:?}");
        assert!(!told.contains(|char| shown::is_hidden(char) && char != '\n'), "{told:?}");
    }
}
