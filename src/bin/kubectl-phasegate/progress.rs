//! One line on stderr that says what the command waits for, on a terminal only.
//!
//! **Architecture invariant**: nothing is written unless stderr is a terminal.

use std::cell::Cell;
use std::io::{IsTerminal, stderr};

use crate::output::{Line, plain};
use crate::terminal::{self, Shown};

/// The progress line. It disappears when this value is dropped.
pub struct Progress {
    on: bool,
    turn: Cell<usize>,
}

impl Progress {
    const WHEEL: [char; 4] = ['|', '/', '-', '\\'];

    /// A progress line, if stderr is a terminal.
    pub fn new() -> Self {
        Self { on: stderr().is_terminal(), turn: Cell::new(0) }
    }

    /// Shows what the command waits for.
    pub fn show(&self, words: &str) {
        if self.on {
            self.turn.set((self.turn.get() + 1) % Self::WHEEL.len());
            let width = terminal_size::terminal_size_of(stderr()).map_or(80, |(width, _)| usize::from(width.0));
            let line = Line(vec![plain(words)]).render(false, Some(width.saturating_sub(3)));
            terminal::tell(&Shown::sequence(format!("\r\u{1b}[2K{} {line}", Self::WHEEL[self.turn.get()])));
        }
    }

    /// Erases the line before other output.
    pub fn clear(&self) {
        if self.on {
            terminal::tell(&Shown::sequence("\r\u{1b}[2K".to_owned()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
