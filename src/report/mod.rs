//! Reports: what the journal of a run says, as one value, and one file for each format that it is written in.

pub mod failure;
mod format;
mod gather;
mod html;
mod json;
mod junit;
pub mod levels;
mod markdown;
#[cfg(test)]
mod samples;
pub mod text;
mod words;

use jiff::Timestamp;
use serde::Serialize;

use crate::compare::{Extent, Level};
use crate::run::{Moment, Outcome, ScriptFailure};

pub use format::Format;
pub use levels::Reached;
pub use words::{Mood, facts_in_words};

/// What a report says where the journal does not.
const NOT_RECORDED: &str = "(not recorded)";

/// One run, told after its end. Every text in it was cleaned of secrets and control characters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The run's id.
    pub run: String,
    /// The script.
    pub script: String,
    /// `runner` and its version.
    pub tool: String,
    /// Whether effects were only announced.
    pub dry_run: bool,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended; none for a run that was killed or is still going on.
    pub ended: Option<Timestamp>,
    /// How long it took, or how far the journal goes.
    pub seconds: f64,
    /// How it ended, in one word.
    pub status: Status,
    /// Whether something was verified and all of it holds.
    pub verified: bool,
    /// The exit code; none without an end.
    pub exit_code: Option<u8>,
    /// The verdict in one line.
    pub verdict: String,
    /// How many checks and objectives held, and what else was counted.
    pub counts: Counts,
    /// Why the script broke off, if it did.
    pub failures: Vec<ScriptFailure>,
    /// The checks that were made.
    pub checks: Vec<Check>,
    /// The checks that could not be made.
    pub skipped: Vec<Skipped>,
    /// The objectives, with what was measured against them.
    pub objectives: Vec<Objective>,
    /// Everything that was measured.
    pub measures: Vec<Measure>,
    /// What came of each level of verification.
    pub levels: Vec<Reached>,
    /// How much was touched.
    pub extent: Extent,
    /// How far databases and backups were verified, call by call.
    pub coverage: Vec<Coverage>,
    /// The steps, each after its parent.
    pub steps: Vec<Step>,
    /// What primitives found worth keeping.
    pub evidence: Vec<Evidence>,
    /// What a dry run would have done.
    pub announced: Vec<Announced>,
    /// What the script said.
    pub messages: Vec<Message>,
    /// What could not be removed.
    pub leftovers: Vec<Leftover>,
    /// The script's parameters.
    pub parameters: Vec<Parameter>,
    /// Every file that was compiled.
    pub sources: Vec<Source>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There were checks, and all of them passed.
    Passed,
    /// A check or an objective failed.
    Failed,
    /// It could not run to its end.
    Broke,
    /// A safety rule forbade it.
    Refused,
    /// It came to its end, and no check was made.
    Unverified,
    /// It passed, and something could not be removed.
    Leftovers,
    /// Effects were announced, not done.
    DryRun,
    /// The deadline passed.
    Deadline,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The journal has no end: the run was killed, or is still going on.
    Unfinished,
}

/// What the verdict rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Checks and objectives that hold.
    pub passed: usize,
    /// Checks and objectives that do not.
    pub failed: usize,
    /// Checks that could not be made.
    pub skipped: usize,
    /// Things that could not be removed.
    pub leftovers: usize,
}

/// A check with its result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What is claimed.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen.
    pub detail: String,
    /// The step it was made in.
    pub step: Option<usize>,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// What would have been claimed.
    pub name: String,
    /// Why it could not be.
    pub why: String,
    /// The step it belongs to.
    pub step: Option<usize>,
}

/// A measured duration and its limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Objective {
    /// `rto`, `rpo`.
    pub name: String,
    /// What was measured.
    pub seconds: f64,
    /// What is allowed.
    pub limit: f64,
    /// Whether it holds.
    pub passed: bool,
}

/// A measured duration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// `rto`, `rpo`.
    pub name: String,
    /// How long.
    pub seconds: f64,
}

/// How far one thing was verified, as the primitive that did it wrote down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// The primitive.
    pub primitive: String,
    /// What it found, in one line.
    pub summary: String,
    /// The levels that it asked for.
    pub levels: Vec<Level>,
    /// Those of them that do not hold.
    pub failed: Vec<Level>,
    /// How much it touched.
    pub extent: Extent,
    /// Where the two sides differ.
    pub differences: Vec<Note>,
    /// The rows that differ, below their table and how many there are; never their values.
    pub rows: Vec<Note>,
    /// What it could not check, each with the reason.
    pub not_checked: Vec<Note>,
    /// Differences that were declared lawful, each with the reason.
    pub ignored: Vec<Note>,
    /// What differs without damage, each with the reason.
    pub lawful: Vec<Note>,
    /// What no dump holds, each with the reason.
    pub in_no_dump: Vec<Note>,
    /// What was to be ignored and did not differ.
    pub not_used: Vec<Note>,
    /// The step it happened in.
    pub step: Option<usize>,
}

/// A thing and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The thing.
    pub what: String,
    /// What became of it, or why it does not count.
    pub text: String,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its number in the journal.
    pub id: usize,
    /// The step around it.
    pub parent: Option<usize>,
    /// How many steps are around it.
    pub depth: usize,
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the run did.
    pub started: f64,
    /// How long it took; none when it has no end.
    pub seconds: Option<f64>,
    /// How it ended; none when it has no end.
    pub outcome: Option<Outcome>,
    /// Why it failed, or how often it was tried.
    pub detail: String,
}

/// What a primitive found worth keeping.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The primitive.
    pub primitive: String,
    /// One line for people.
    pub summary: String,
    /// The facts.
    pub facts: serde_json::Value,
    /// The step it happened in.
    pub step: Option<usize>,
}

/// An effect that a dry run announced.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Announced {
    /// The primitive.
    pub primitive: String,
    /// What it would do.
    pub text: String,
    /// The step it would happen in.
    pub step: Option<usize>,
}

/// Something that the script said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// The text.
    pub text: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// When, in seconds since the run began.
    pub at: f64,
}

/// Something that could not be removed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leftover {
    /// What sort of thing.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The command that removes it.
    pub by_hand: String,
    /// Why it is still there.
    pub error: String,
}

/// A parameter of the script.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// The value that the run used.
    pub value: String,
    /// Whether the command line gave it.
    pub given: bool,
}

/// A file that was compiled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// Its name.
    pub file: String,
    /// The SHA-256 of its content.
    pub sha256: String,
}

impl Report {
    /// Reads a report out of a journal, also out of one that breaks off in the middle.
    pub fn of(moments: &[Moment]) -> Self {
        gather::report(moments)
    }
}
