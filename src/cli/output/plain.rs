//! Output without a terminal: one line an event, no control characters, and long work tells of itself now and then.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Level;
use super::failure;
use super::look::Look;
use super::ticker::Ticker;
use crate::progress::Progress;
use crate::report::facts_in_words;
use crate::report::text::{clipped, line};
use crate::run::{Check, Event, Moment, Outcome};
use crate::units;

/// How often long work tells how far it is.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How much of one fact is shown.
const FACT_LIMIT: usize = 160;

/// A stream of lines.
pub(super) struct Plain {
    look: Look,
    level: Level,
    progress_every: Duration,
    steps: Mutex<BTreeMap<usize, (String, Option<usize>)>>,
    to: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Plain {
    pub(super) fn new(to: Box<dyn Write + Send>, look: Look, level: Level, progress_every: Duration) -> Self {
        Self { look, level, progress_every, steps: Mutex::default(), to: Arc::new(Mutex::new(to)) }
    }

    pub(super) fn happened(&self, moment: &Moment) {
        match &moment.event {
            Event::Broke(broke) => self.write(&failure::paint(broke, self.look)),
            event => {
                if let Some((sort, text)) = self.told(event, moment.step) {
                    self.write(&format!("{:>8} {sort:<9} {text}\n", units::duration(moment.t)));
                }
            }
        }
        if let (Level::Verbose, Event::Evidence { facts, .. }) = (self.level, &moment.event) {
            let facts = facts_in_words(facts).into_iter().map(|fact| clipped(&line(&fact), FACT_LIMIT));
            facts.for_each(|fact| self.write(&format!("{:>8} fact      {fact}\n", "")));
        }
    }

    /// Tells of work once it takes long, and then again at the same distance.
    pub(super) fn working(&self, label: &str, progress: &Progress) -> Box<dyn Send> {
        if self.level == Level::Quiet {
            return Box::new(());
        }
        let (label, progress, to, started) = (line(label), progress.clone(), Arc::clone(&self.to), Instant::now());
        Box::new(Ticker::start(self.progress_every, move || {
            write(&to, &format!("{:>8} working   {label}: {}\n", "", how_far(&progress, started.elapsed())));
        }))
    }

    pub(super) fn write(&self, text: &str) {
        write(&self.to, text);
    }

    /// Returns the sort of line and its text, or nothing where this level is silent.
    fn told(&self, event: &Event, step: Option<usize>) -> Option<(&'static str, String)> {
        let verbose = self.level == Level::Verbose;
        let told = match event {
            Event::Checked(Check { name, passed: false, detail }) => {
                ("check", format!("FAILED: {}", self.named(step, name, detail)))
            }
            Event::Objective { name, seconds, limit, passed } if !passed || self.level != Level::Quiet => {
                let word = if *passed { "met" } else { "MISSED" };
                let (seconds, limit) = (units::duration(*seconds), units::duration(*limit));
                ("objective", format!("{word}: {}: {seconds} of {limit}", line(name)))
            }
            _ if self.level == Level::Quiet => return None,
            Event::Started { run, script, dry_run, .. } => {
                let dry = if *dry_run { ", dry run: effects are announced, not done" } else { "" };
                ("run", format!("{}: {}{dry}", line(run), line(script)))
            }
            Event::Parameter { name, value, .. } if verbose => {
                ("parameter", format!("{} = {}", line(name), line(value)))
            }
            Event::StepStarted { id, name } => {
                self.steps().insert(*id, (line(name), step));
                ("step", format!("started: {}", self.path(Some(*id))))
            }
            Event::StepEnded { id, outcome, seconds, detail, .. } => {
                let path = self.path(Some(*id));
                self.steps().remove(id);
                let detail = if detail.is_empty() { String::new() } else { format!(" ({})", line(detail)) };
                ("step", format!("{}: {path}: {}{detail}", word(*outcome), units::duration(*seconds)))
            }
            Event::Checked(Check { name, detail, .. }) => {
                ("check", format!("passed: {}", self.named(step, name, detail)))
            }
            Event::Skipped { name, why } => ("check", format!("not made: {}", self.named(step, name, why))),
            Event::Measured { name, seconds } => ("measured", format!("{}: {}", line(name), units::duration(*seconds))),
            Event::Evidence { primitive, summary, .. } => ("found", self.named(step, primitive, summary)),
            Event::Announced { primitive, text } => ("would", self.named(step, primitive, text)),
            Event::Said { text, warning } => (if *warning { "warning" } else { "says" }, line(text)),
            // Leftovers are told once, in the closing block, with the command that removes them.
            _ => return None,
        };
        Some(told)
    }

    fn named(&self, step: Option<usize>, name: &str, detail: &str) -> String {
        let path = self.path(step);
        let parts = [path.as_str(), &line(name), &line(detail)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    fn path(&self, step: Option<usize>) -> String {
        let steps = self.steps();
        let path = std::iter::successors(step, |id| steps.get(id).and_then(|(_, parent)| *parent));
        let mut names: Vec<_> = path.filter_map(|id| steps.get(&id)).map(|(name, _)| name.as_str()).collect();
        names.reverse();
        names.join(" / ")
    }

    fn steps(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, (String, Option<usize>)>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(to: &Mutex<Box<dyn Write + Send>>, text: &str) {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody can be told that stderr is gone; the journal has it all.
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "FAILED",
        Outcome::Interrupted => "interrupted",
        Outcome::Planned => "planned",
    }
}

/// Says how far work is: `120.0 MB of 610.0 MB (19%), 12.0 MB/s`.
fn how_far(progress: &Progress, elapsed: Duration) -> String {
    let (done, total) = (progress.done(), progress.total());
    let rate = units::size((done as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
    match total {
        0 => format!("{}, {rate}/s", units::size(done)),
        _ => {
            format!("{} of {} ({}%), {rate}/s", units::size(done), units::size(total), done.saturating_mul(100) / total)
        }
    }
}
