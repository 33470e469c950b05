//! Lines on a terminal that are drawn anew where they changed, and nowhere else.

use crate::terminal::Shown;

/// What is on the terminal. The cursor stands below the last line.
#[derive(Debug, Default)]
pub struct Screen {
    drawn: Vec<Shown>,
}

impl Screen {
    /// What has to be sent so that the terminal shows `lines`, none of which may be wider than it, nor all together as
    /// high. They may have colours.
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

    /// What has to be sent after the terminal's size has changed: it breaks lines in its own way.
    pub fn clear(&mut self) -> &'static str {
        self.drawn.clear();
        "\u{1b}[2J\u{1b}[H"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that knows what [`Screen`] sends.
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
        let mut screen = Screen::default();
        let mut terminal = Terminal::default();
        let all: [&[&str]; 7] =
            [&["a", "b", "c"], &["a", "B", "c"], &["a", "B", "c", "d"], &["x", "y"], &["x", "y"], &[], &["last"]];
        for lines in all {
            let sent = screen.show(lines.iter().map(|line| Shown::text(line)).collect());
            terminal.receive(&sent);
            assert_eq!(
                (terminal.rows.as_slice(), terminal.row),
                (&*lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), lines.len())
            );
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut screen = Screen::default();
        let lines = |changed: &str| {
            (0..50).map(|n| Shown::text(&if n == 17 { changed.into() } else { format!("row {n}") })).collect()
        };
        screen.show(lines("before"));
        assert_eq!(&*screen.show(lines("before")), "");
        let sent = screen.show(lines("after"));
        assert!(sent.contains("after") && !sent.contains("row"), "{sent:?}");
    }
}
