//! The story of a run on a terminal: which lines an event is told in.
//!
//! A step is one line, told when it ends. When something happens inside it, the step is named above that first, so that
//! what belongs to it stands below it.

use std::collections::BTreeMap;

use super::Level;
use super::failure;
use super::look::{Look, Mark};
use crate::report::facts_in_words;
use crate::report::text::{block, clipped, line};
use crate::run::{Check, Event, Moment, Outcome};
use crate::units;

/// The column in which durations end, where names leave room for it.
const NAME_WIDTH: usize = 32;

/// How much of one fact is shown.
const FACT_LIMIT: usize = 160;

/// What was told so far.
pub(super) struct Story {
    look: Look,
    level: Level,
    /// The steps that have begun and not ended.
    steps: BTreeMap<usize, Step>,
    /// The steps under whose names the next line stands.
    open: Vec<usize>,
}

struct Step {
    name: String,
    parent: Option<usize>,
    /// Summaries of evidence that will stand in the step's own line, unless something else comes first.
    found: Vec<String>,
}

impl Story {
    pub(super) fn new(look: Look, level: Level) -> Self {
        Self { look, level, steps: BTreeMap::new(), open: Vec::new() }
    }

    /// Tells what happened, in no line or several.
    pub(super) fn tell(&mut self, moment: &Moment) -> Vec<String> {
        let look = self.look;
        let step = moment.step;
        match &moment.event {
            Event::Started { run, script, dry_run, .. } => {
                let dry = if *dry_run { ", dry run: effects are announced, not done" } else { "" };
                vec![look.dim(&format!("{} {} run {}{dry}", line(script), self.dot(), line(run)))]
            }
            Event::Parameter { name, value, given } if self.level == Level::Verbose => {
                let from = if *given { "" } else { " (default)" };
                vec![look.dim(&format!("{} = {}{from}", line(name), line(value)))]
            }
            Event::StepStarted { id, name } => {
                self.steps.insert(*id, Step { name: line(name), parent: step, found: Vec::new() });
                Vec::new()
            }
            Event::StepEnded { id, name, outcome, seconds, detail } => {
                self.end_step(*id, name, *outcome, *seconds, detail)
            }
            Event::Checked(Check { name, passed, detail }) => {
                let mark = if *passed { Mark::Good } else { Mark::Bad };
                self.below(step, &format!("{} {}", look.mark(mark), named(name, detail, look)))
            }
            Event::Skipped { name, why } => {
                let text = format!("{} {}", look.mark(Mark::Skipped), named(name, &format!("not made: {why}"), look));
                self.below(step, &text)
            }
            Event::Measured { name, seconds } => {
                let text = format!("{} {}  {}", look.mark(Mark::Note), line(name), units::duration(*seconds));
                self.below(step, &text)
            }
            Event::Objective { name, seconds, limit, passed } => {
                let mark = look.mark(if *passed { Mark::Good } else { Mark::Bad });
                let held = format!("{} of {}", units::duration(*seconds), units::duration(*limit));
                let missed = if *passed { "" } else { ", missed" };
                self.below(step, &format!("{mark} {}  {held}{missed}", line(name)))
            }
            Event::Evidence { primitive, summary, facts } => self.evidence(step, primitive, summary, facts),
            Event::Announced { text, .. } => self.below(step, &format!("{} {}", look.accent("would"), block(text))),
            Event::Said { text, warning: true } => {
                self.below(step, &format!("{} {}", look.mark(Mark::Warning), block(text)))
            }
            Event::Said { text, warning: false } => self.below(step, &block(text)),
            Event::Broke(broke) => {
                self.open.clear();
                failure::paint(broke, look).lines().map(str::to_owned).collect()
            }
            // Leftovers are told once, in the closing block, with the command that removes them.
            Event::Parameter { .. } | Event::Leftover { .. } | Event::Ended { .. } => Vec::new(),
        }
    }

    fn end_step(&mut self, id: usize, name: &str, outcome: Outcome, seconds: f64, detail: &str) -> Vec<String> {
        let Some(step) = self.steps.get_mut(&id) else { return Vec::new() };
        let parent = step.parent;
        let inside = self.open.contains(&id);
        let mut details = if inside { Vec::new() } else { std::mem::take(&mut step.found) };
        let mut out = self.headers(if inside { Some(id) } else { parent });
        self.steps.remove(&id);
        self.open.retain(|open| *open != id);
        if !detail.is_empty() {
            details.insert(0, block(detail));
        }
        let look = self.look;
        let (mark, word) = match outcome {
            Outcome::Ok => (Mark::Good, ""),
            Outcome::Failed => (Mark::Bad, ""),
            Outcome::Interrupted => (Mark::Bad, "interrupted"),
            Outcome::Planned => (Mark::Note, "planned"),
        };
        details.splice(0..0, (!word.is_empty()).then(|| word.to_owned()));
        let indent = self.depth(parent);
        let room = NAME_WIDTH.saturating_sub(indent);
        let text = format!("{} {:room$} {:>8}", look.mark(mark), line(name), units::duration(seconds));
        let detail = details.join(&format!(" {} ", self.dot()));
        let detail = if detail.is_empty() { detail } else { format!("  {}", look.dim(&detail)) };
        out.push(indented(indent, &format!("{text}{detail}")));
        out
    }

    fn evidence(
        &mut self,
        step: Option<usize>,
        primitive: &str,
        summary: &str,
        facts: &serde_json::Value,
    ) -> Vec<String> {
        let look = self.look;
        let told = format!("{}: {}", line(primitive), line(summary));
        let known = step.and_then(|id| self.steps.get_mut(&id));
        if let (Some(step), false) =
            (known, self.level == Level::Verbose || step.is_some_and(|s| self.open.contains(&s)))
        {
            step.found.push(told);
            return Vec::new();
        }
        let mut out = self.below(step, &format!("{} {}", look.mark(Mark::Note), look.dim(&told)));
        if self.level == Level::Verbose {
            let facts = facts_in_words(facts).into_iter().map(|fact| clipped(&line(&fact), FACT_LIMIT));
            out.extend(facts.map(|fact| indented(self.depth(step) + 2, &look.dim(&fact))));
        }
        out
    }

    /// Returns a line inside a step, after the names of the steps around it where they do not stand above it yet.
    fn below(&mut self, step: Option<usize>, text: &str) -> Vec<String> {
        let mut out = self.headers(step);
        out.push(indented(self.depth(step), text));
        out
    }

    /// Names the steps around the next line that are not the ones around the last line.
    fn headers(&mut self, step: Option<usize>) -> Vec<String> {
        let path = self.path(step);
        let same = self.open.iter().zip(&path).take_while(|(a, b)| a == b).count();
        let mut out = Vec::new();
        for (depth, id) in path.iter().enumerate().skip(same) {
            let Some(step) = self.steps.get_mut(id) else { continue };
            out.push(indented(2 * depth, &format!("{} {}", self.look.mark(Mark::Open), self.look.bold(&step.name))));
            for found in std::mem::take(&mut step.found) {
                let note = format!("{} {}", self.look.mark(Mark::Note), self.look.dim(&found));
                out.push(indented(2 * depth + 2, &note));
            }
        }
        self.open = path;
        out
    }

    /// Returns a step and the steps around it, outermost first.
    fn path(&self, step: Option<usize>) -> Vec<usize> {
        let mut path: Vec<_> = std::iter::successors(step, |id| self.steps.get(id).and_then(|s| s.parent)).collect();
        path.retain(|id| self.steps.contains_key(id));
        path.reverse();
        path
    }

    fn depth(&self, step: Option<usize>) -> usize {
        2 * self.path(step).len()
    }

    fn dot(&self) -> &'static str {
        if self.look.unicode() { "·" } else { "-" }
    }
}

/// Writes a name and what was seen.
fn named(name: &str, detail: &str, look: Look) -> String {
    let detail = block(detail);
    if detail.is_empty() { line(name) } else { format!("{}  {}", line(name), look.dim(&detail)) }
}

/// Moves a text to the right, with all of its lines.
fn indented(by: usize, text: &str) -> String {
    let indent = " ".repeat(by);
    format!("{indent}{}", text.replace('\n', &format!("\n{indent}    ")))
}
