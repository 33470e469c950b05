//! Lines on a terminal, redrawn only where they changed.
//!
//! **Architecture invariant**: this module writes nothing. It returns the text that updates the terminal.

use crate::terminal::Shown;

/// The lines on the terminal. The cursor is below the last one.
#[derive(Debug, Default)]
pub struct LiveDisplay {
    drawn: Vec<Shown>,
}

impl LiveDisplay {
    /// The bytes to send so that the terminal shows `lines`. No line may be wider than the terminal, and all
    /// lines together must fit its height. They may be coloured.
    pub fn show(&mut self, lines: Vec<Shown>) -> Shown {
        let mut sent = String::new();
        let count = self.drawn.len();
        for (number, (old, new)) in self.drawn.iter().zip(&lines).enumerate() {
            if old != new {
                let up = count - number;
                sent.push_str(&format!("\u{1b}[{up}A\r\u{1b}[2K{new}\u{1b}[{up}B\r"));
            }
        }
        if lines.len() < count {
            sent.push_str(&format!("\u{1b}[{}A\r\u{1b}[J", count - lines.len()));
        }
        for line in lines.iter().skip(count) {
            sent.push_str(&format!("{line}\r\n"));
        }
        self.drawn = lines;
        Shown::sequence(sent)
    }

    /// The bytes to send after the terminal's size has changed, because the terminal wraps the lines by itself.
    pub fn clear(&mut self) -> &'static str {
        self.drawn.clear();
        "\u{1b}[2J\u{1b}[H"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows what [`LiveDisplay`] sends.
    #[derive(Default)]
    struct Terminal {
        rows: Vec<String>,
        row: usize,
    }

    impl Terminal {
        fn receive(&mut self, mut sent: &str) {
            while !sent.is_empty() {
                if let Some(rest) = sent.strip_prefix("\u{1b}[") {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap_or_default();
                    let number = rest[..end].parse().unwrap_or(0);
                    match &rest[end..=end] {
                        "A" => self.row -= number,
                        "B" => self.row += number,
                        "K" => self.rows[self.row].clear(),
                        "J" => self.rows.truncate(self.row),
                        other => panic!("{other}"),
                    }
                    sent = &rest[end + 1..];
                } else if let Some(rest) = sent.strip_prefix('\r') {
                    sent = rest;
                } else if let Some(rest) = sent.strip_prefix('\n') {
                    self.row += 1;
                    sent = rest;
                } else {
                    let end = sent.find(['\r', '\n', '\u{1b}']).unwrap_or(sent.len());
                    if self.rows.len() <= self.row {
                        self.rows.push(String::new());
                    }
                    self.rows[self.row].push_str(&sent[..end]);
                    sent = &sent[end..];
                }
            }
        }
    }

    #[test]
    fn the_terminal_shows_what_was_shown_last_whatever_was_shown_before() {
        let mut display = LiveDisplay::default();
        let mut terminal = Terminal::default();
        let all: [&[&str]; 7] =
            [&["a", "b", "c"], &["a", "B", "c"], &["a", "B", "c", "d"], &["x", "y"], &["x", "y"], &[], &["last"]];
        for lines in all {
            let sent = display.show(lines.iter().map(|line| Shown::text(line)).collect());
            terminal.receive(&sent);
            assert_eq!(
                (terminal.rows.as_slice(), terminal.row),
                (&*lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), lines.len())
            );
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut display = LiveDisplay::default();
        let lines = |changed: &str| {
            (0..50).map(|n| Shown::text(&if n == 17 { changed.into() } else { format!("row {n}") })).collect()
        };
        display.show(lines("before"));
        assert_eq!(&*display.show(lines("before")), "");
        let sent = display.show(lines("after"));
        assert!(sent.contains("after") && !sent.contains("row"), "{sent:?}");
    }
}
