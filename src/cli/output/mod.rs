//! What a person sees of a run, on stderr: stdout belongs to `--json` and to what commands answer.

mod confirm;
mod ending;
mod failure;
mod look;
mod plain;
mod story;
mod terminal;
#[cfg(test)]
mod tests;
mod ticker;

use std::io::{IsTerminal, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressDrawTarget;

pub use anstream::ColorChoice;
pub use confirm::can_ask;
pub use ending::{Places, write as ending};
pub use failure::paint as failure;
pub use look::Look;

use crate::error::Error;
use crate::progress::Progress;
use crate::report::{self, Report};
use crate::run::{Listener, Moment, ScriptFailure};
use plain::Plain;
use terminal::Terminal;

/// How much is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// Failures and the verdict.
    Quiet,
    /// Steps, checks and what they found.
    #[default]
    Normal,
    /// The facts behind it, too.
    Verbose,
}

/// Where a run is told as it happens.
pub struct Output {
    screen: Screen,
    look: Look,
    level: Level,
    stopping: AtomicBool,
}

enum Screen {
    Terminal(Terminal),
    Plain(Plain),
}

impl Output {
    /// Opens stderr: with what is at work on a terminal, in plain lines elsewhere.
    pub fn open(level: Level, color: ColorChoice) -> Arc<Self> {
        let look = Look::of_stderr(color);
        let screen = if stderr().is_terminal() && level != Level::Quiet && !is_dumb() {
            Screen::Terminal(Terminal::new(Box::new(stderr()), ProgressDrawTarget::stderr(), look, level))
        } else {
            Screen::Plain(Plain::new(Box::new(stderr()), look, level, plain::PROGRESS_EVERY))
        };
        Arc::new(Self { screen, look, level, stopping: AtomicBool::new(false) })
    }

    /// Says something that is not part of the run: "press Ctrl-C again to give up the cleanup".
    pub fn notice(&self, text: &str) {
        self.write(&format!("{}\n", report::text::block(text)));
    }

    /// Says that the run is being stopped. A question that waits for its answer is answered with no, so this is to be
    /// called whatever the reason is.
    pub fn stopping(&self, text: &str) {
        self.stopping.store(true, Ordering::SeqCst);
        self.notice(text);
    }

    /// Draws an error that no script is to blame for.
    pub fn error(&self, error: &Error) {
        self.write(&failure(&report::failure::of(error), self.look));
    }

    /// Draws why a script cannot be run.
    pub fn broken(&self, why: &ScriptFailure) {
        self.write(&failure(why, self.look));
    }

    /// Closes with the verdict, and what to know and do next.
    pub fn ending(&self, report: &Report, places: &Places) {
        let space = if self.level == Level::Quiet { "" } else { "\n" };
        self.write(&format!("{space}{}", ending(report, places, self.level, self.look)));
    }

    fn write(&self, text: &str) {
        match &self.screen {
            Screen::Terminal(terminal) => terminal.write(text),
            Screen::Plain(plain) => plain.write(text),
        }
    }
}

impl Listener for Output {
    fn happened(&self, moment: &Moment) {
        match &self.screen {
            Screen::Terminal(terminal) => terminal.happened(moment),
            Screen::Plain(plain) => plain.happened(moment),
        }
    }

    fn working(&self, label: &str, progress: &Progress) -> Box<dyn Send> {
        match &self.screen {
            Screen::Terminal(terminal) => terminal.working(label, progress),
            Screen::Plain(plain) => plain.working(label, progress),
        }
    }

    fn confirm(&self, question: &str) -> bool {
        let ask = || confirm::confirm(question, || self.stopping.load(Ordering::SeqCst));
        match &self.screen {
            Screen::Terminal(terminal) => terminal.suspend(ask),
            Screen::Plain(_) => ask(),
        }
    }
}

/// Returns whether the terminal cannot move its cursor.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}
