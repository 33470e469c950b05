//! What this program writes to stdout and stderr: here alone, and only what is [`Shown`].

use std::fmt;
use std::io::{self, Write, stderr, stdout};
use std::ops::Deref;

use phasegate::shown;

/// How many characters of a sentence or a cell are printed. Others may write more than anybody reads.
pub const LONGEST: usize = 2_000;

/// A text that a terminal may be sent: nothing of others' words in it is obeyed or hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// A text with lines of its own.
    pub fn text(text: &str) -> Self {
        Self(shown::lines(text).into_owned())
    }

    /// One line, whatever is in it.
    pub fn sentence(words: &str) -> Self {
        Self(format!("{}\n", shown::cut(&shown::piece(words), LONGEST)))
    }

    /// Sequences of this program's own for a terminal to obey, around what is shown already.
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
/// When it cannot be written.
pub fn print(text: &Shown) -> io::Result<()> {
    send(&mut stdout().lock(), text)
}

/// Says something on stderr. Who cannot be told of it is told nothing.
pub fn tell(text: &Shown) {
    let _ = send(&mut stderr().lock(), text);
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
}
