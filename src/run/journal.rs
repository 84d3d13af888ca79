//! The journal: what happened in a run, line by line, written as it happens, since the next step may fail.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::scope;
use crate::error::{Error, Result};
use crate::progress::{Pace, Progress};
use crate::secret;

/// The file in a run's folder that holds the journal.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ended as it should.
    Ok,
    /// It failed.
    Failed,
    /// It was stopped half way.
    Interrupted,
    /// It was announced, not done.
    Planned,
}

/// One check with its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is claimed.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Why a script broke off, ready to be shown: thing, place, cause, next step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptFailure {
    /// The sort of failure.
    pub kind: String,
    /// What could not be done.
    pub message: String,
    /// `drill.rhai:14:5`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The script's line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The column of the caret below that line, from 1, and its width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caret: Option<(usize, usize)>,
    /// The calls that led there, outermost first, each `name at file:line:column`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<String>,
    /// The step it happened in.
    #[serde(rename = "in_step", default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The causes, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The last lines of a child's stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What can happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The run began.
    Started {
        /// Its id.
        run: String,
        /// When.
        at: Timestamp,
        /// The script.
        script: String,
        /// Every file that was compiled with its SHA-256.
        sources: Vec<(String, String)>,
        /// `runner` and its version.
        tool: String,
        /// Whether effects are only announced.
        dry_run: bool,
    },
    /// The script asked for a parameter.
    Parameter {
        /// Its name.
        name: String,
        /// The value that the run used.
        value: String,
        /// Whether the command line gave it; otherwise it is the default.
        given: bool,
    },
    /// A step began.
    StepStarted {
        /// Its number.
        id: usize,
        /// Its name.
        name: String,
    },
    /// A step ended.
    StepEnded {
        /// Its number.
        id: usize,
        /// Its name.
        name: String,
        /// How.
        outcome: Outcome,
        /// How long it took.
        seconds: f64,
        /// Why it failed, or how often it was tried.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A check was made.
    Checked(Check),
    /// A check could not be made: never a pass.
    Skipped {
        /// What would have been claimed.
        name: String,
        /// Why it could not be.
        why: String,
    },
    /// A duration was measured.
    Measured {
        /// What: `rto`, `rpo`.
        name: String,
        /// How long.
        seconds: f64,
    },
    /// A measured duration was held against its limit.
    Objective {
        /// What: `rto`, `rpo`.
        name: String,
        /// How long it took.
        seconds: f64,
        /// How long it may take.
        limit: f64,
        /// Whether it holds.
        passed: bool,
    },
    /// A primitive did something worth keeping: sizes, digests, versions, verdicts.
    Evidence {
        /// The primitive.
        primitive: String,
        /// One line for people.
        summary: String,
        /// The facts.
        facts: serde_json::Value,
    },
    /// An effect that a dry run announces.
    Announced {
        /// The primitive.
        primitive: String,
        /// What it would do.
        text: String,
    },
    /// A message of the script.
    Said {
        /// The text.
        text: String,
        /// Whether it is a warning.
        warning: bool,
    },
    /// Something could not be removed.
    Leftover {
        /// What sort of thing.
        kind: String,
        /// Its name.
        name: String,
        /// The command that removes it.
        by_hand: String,
        /// Why it is still there.
        error: String,
    },
    /// The script broke off.
    Broke(ScriptFailure),
    /// The run ended.
    Ended {
        /// When.
        at: Timestamp,
        /// The exit code.
        exit_code: u8,
        /// The verdict in words.
        verdict: String,
        /// How long it all took.
        seconds: f64,
    },
}

/// An event with its place in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the run began.
    pub t: f64,
    /// The step it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Someone who watches a run: the terminal, or nobody.
pub trait Listener: Send + Sync {
    /// Is told of every event as it happens.
    fn happened(&self, moment: &Moment);
    /// Is told that some work counts its bytes; the bar ends when what comes back is dropped.
    fn working(&self, label: &str, progress: &Progress) -> Box<dyn Send>;
    /// Asks a person; `false` where nobody can answer.
    fn confirm(&self, question: &str) -> bool;
}

/// Work whose bytes are shown while it is alive.
pub struct Working {
    /// The counters to add to.
    pub progress: Progress,
    _shown: Box<dyn Send>,
}

/// The journal of one run.
pub struct Journal {
    started: Instant,
    state: Mutex<State>,
    listener: Arc<dyn Listener>,
    pace: Option<Arc<Pace>>,
    stop: CancellationToken,
}

struct State {
    file: File,
    moments: Vec<Moment>,
    steps: usize,
    /// The first line that could not be written. A run whose evidence is lost must not pass.
    lost: Option<Error>,
}

impl Journal {
    pub(super) fn create(folder: &Path, started: Instant, listener: Arc<dyn Listener>) -> Result<Self> {
        let path = folder.join(JOURNAL_FILE);
        let file =
            File::options().append(true).create_new(true).open(&path).map_err(|e| Error::io("create", &path, &e))?;
        let state = State { file, moments: Vec::new(), steps: 0, lost: None };
        Ok(Self { started, state: Mutex::new(state), listener, pace: None, stop: CancellationToken::new() })
    }

    /// Makes all work that counts its bytes keep a pace, until the run is stopped.
    pub(super) fn with_pace(self, pace: Option<Arc<Pace>>, stop: CancellationToken) -> Self {
        Self { pace, stop, ..self }
    }

    /// Writes down what happened, without secrets.
    pub fn record(&self, event: Event) {
        let mut state = self.lock();
        self.record_in(&mut state, event);
    }

    fn record_in(&self, state: &mut State, event: Event) {
        let moment = Moment { t: self.started.elapsed().as_secs_f64(), step: scope::current().step, event };
        let moment = match without_secrets(&moment) {
            Ok((moment, line)) => {
                if let Err(e) = state.file.write_all(&line) {
                    state.lost.get_or_insert_with(|| Error::io("write", Path::new(JOURNAL_FILE), &e));
                }
                moment
            }
            Err(error) => {
                state.lost.get_or_insert(error);
                return;
            }
        };
        self.listener.happened(&moment);
        state.moments.push(moment);
    }

    /// Begins a step and returns its number.
    pub fn begin_step(&self, name: &str) -> usize {
        let mut state = self.lock();
        state.steps += 1;
        let id = state.steps;
        self.record_in(&mut state, Event::StepStarted { id, name: name.to_owned() });
        id
    }

    /// Shows the bytes of some work while the guard that comes back lives.
    pub fn working(&self, label: &str) -> Working {
        let progress = match &self.pace {
            Some(pace) => {
                let stopped = scope::current().token.unwrap_or_else(|| self.stop.clone());
                Progress::paced(Arc::clone(pace), stopped)
            }
            None => Progress::default(),
        };
        let shown = self.listener.working(label, &progress);
        Working { progress, _shown: shown }
    }

    /// Asks a person.
    pub fn confirm(&self, question: &str) -> bool {
        self.listener.confirm(question)
    }

    /// Returns what happened so far.
    pub fn moments(&self) -> Vec<Moment> {
        self.lock().moments.clone()
    }

    /// Returns why a line of the journal was lost.
    pub fn lost(&self) -> Option<Error> {
        self.lock().lost.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Masks secrets, and returns the moment with its line in the file.
fn without_secrets(moment: &Moment) -> Result<(Moment, Vec<u8>)> {
    let bug = |e: serde_json::Error| Error::new(crate::error::Kind::Bug, "could not write the journal").because(&e);
    let mut value = serde_json::to_value(moment).map_err(bug)?;
    secret::redact_json(&mut value);
    let mut line = serde_json::to_vec(&value).map_err(bug)?;
    line.push(b'\n');
    Ok((serde_json::from_value(value).map_err(bug)?, line))
}

/// Reads the journal of an earlier run. A cut last line is left out: its run was killed.
pub fn read(folder: &Path) -> Result<Vec<Moment>> {
    let path = folder.join(JOURNAL_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A listener that hears nothing and never agrees.
pub struct Silent;

impl Listener for Silent {
    fn happened(&self, _: &Moment) {}

    fn working(&self, _: &str, _: &Progress) -> Box<dyn Send> {
        Box::new(())
    }

    fn confirm(&self, _: &str) -> bool {
        false
    }
}
