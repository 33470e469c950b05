//! One line on stderr that says what is waited for, on a terminal only.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};

/// The line, which goes when this is dropped.
pub struct Progress {
    on: bool,
    turn: Cell<usize>,
}

impl Progress {
    const WHEEL: [char; 4] = ['|', '/', '-', '\\'];

    /// A line where stderr is a terminal.
    pub fn new() -> Self {
        Self { on: stderr().is_terminal(), turn: Cell::new(0) }
    }

    /// Shows what is waited for.
    pub fn show(&self, words: &str) {
        if self.on {
            self.turn.set((self.turn.get() + 1) % Self::WHEEL.len());
            let width = terminal_size::terminal_size_of(stderr()).map_or(80, |(width, _)| usize::from(width.0));
            let words: String = words.chars().take(width.saturating_sub(3)).collect();
            self.send(&format!("\r\u{1b}[2K{} {words}", Self::WHEEL[self.turn.get()]));
        }
    }

    /// Takes the line away, before something else is printed.
    pub fn clear(&self) {
        if self.on {
            self.send("\r\u{1b}[2K");
        }
    }

    /// Who waits misses nothing but the line when it cannot be written.
    fn send(&self, text: &str) {
        let mut out = stderr().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
