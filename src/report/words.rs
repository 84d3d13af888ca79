//! The words that all formats share: headline, basis, coverage, facts.

use jiff::Timestamp;

use super::{Counts, Coverage, NOT_RECORDED, Note, Report, Status, Step, gather, levels};
use crate::run::Outcome;
use crate::units;

/// How many differences a page lists; the JSON report has all of them.
const DIFFERENCES_SHOWN: usize = 100;

impl Report {
    /// Returns the names of a step and the steps around it, outermost first, or nothing for the top of the script.
    pub fn path(&self, step: Option<usize>) -> String {
        let mut names = Vec::new();
        let mut next = step;
        while let Some(step) = next.and_then(|id| self.steps.iter().find(|s| s.id == id)) {
            names.push(step.name.as_str());
            next = step.parent;
        }
        names.reverse();
        names.join(" › ")
    }

    /// Returns the line that heads a report: the status in a word, and the verdict without saying that word again.
    pub fn headline(&self) -> String {
        let word = self.status.word();
        match self.verdict.get(..word.len()) {
            Some(start) if start.eq_ignore_ascii_case(word) => format!("{word}{}", &self.verdict[word.len()..]),
            _ => format!("{word}: {}", self.verdict),
        }
    }

    /// Returns what is to be said about the coverage, as titled lists with their headings; empty ones are left out.
    pub(super) fn coverage_notes(&self) -> Vec<(&'static str, [&'static str; 2], Vec<Note>)> {
        let all = |list: fn(&Coverage) -> &Vec<Note>| self.coverage.iter().flat_map(list).cloned().collect::<Vec<_>>();
        let mut differences = all(|c| &c.differences);
        if let Some(more) = differences.len().checked_sub(DIFFERENCES_SHOWN).filter(|more| *more > 0) {
            differences.truncate(DIFFERENCES_SHOWN);
            differences.push(Note { what: format!("and {more} more"), text: "listed in the JSON report".to_owned() });
        }
        let mut lists = vec![
            ("Differences", ["object", "what became of it"], differences),
            ("Rows that differ", ["row", "what became of it"], all(|c| &c.rows)),
            ("Not checked", ["what", "why"], self.not_checked().into_iter().cloned().collect()),
            ("Declared lawful", ["what", "why"], all(|c| &c.ignored)),
            ("Declared lawful, not needed", ["object", ""], all(|c| &c.not_used)),
            ("Differs without damage", ["what", "why"], all(|c| &c.lawful)),
            ("In no backup", ["what", "why"], all(|c| &c.in_no_dump)),
        ];
        lists.retain(|(_, _, notes)| !notes.is_empty());
        lists
    }

    /// Returns what came of the levels and how much was touched, as names and texts; nothing where nothing was asked for.
    pub fn reach(&self) -> Vec<(&'static str, String)> {
        let touched = self.extent.to_string();
        let levels = levels::in_words(self).map(|text| ("levels", text));
        levels.into_iter().chain((!touched.is_empty()).then_some(("coverage", touched))).collect()
    }

    /// Says how much was touched.
    pub(super) fn touched(&self) -> String {
        let touched = self.extent.to_string();
        if touched.is_empty() { "nothing that could be counted".to_owned() } else { touched }
    }

    /// Returns what was not checked and why, each once.
    pub fn not_checked(&self) -> Vec<&Note> {
        let mut notes: Vec<&Note> = Vec::new();
        for note in self.coverage.iter().flat_map(|c| &c.not_checked) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }

    /// Returns which run this was, as names and texts.
    pub(super) fn about(&self) -> Vec<(&'static str, String)> {
        let time = |time: Option<Timestamp>, none: &str| time.map_or(none.to_owned(), |t| t.to_string());
        vec![
            ("script", self.script.clone()),
            ("run", self.run.clone()),
            ("by", self.tool.clone()),
            ("started", time(self.started, NOT_RECORDED)),
            ("ended", time(self.ended, "no end")),
            ("took", units::duration(self.seconds)),
            ("exit code", self.exit_code.map_or("none".to_owned(), |code| code.to_string())),
        ]
    }

    /// Says in one sentence what the counts come to. Without a check it says so, since a reader takes silence for a pass.
    pub fn basis(&self) -> String {
        let Counts { passed, failed, skipped, .. } = self.counts;
        let mut parts = Vec::new();
        match passed + failed {
            0 => parts.push("No check was made: this run verified nothing".to_owned()),
            all => parts.push(format!("{passed} of {all} checks and objectives hold")),
        }
        if skipped > 0 {
            parts.push(format!("{skipped} could not be made"));
        }
        if self.dry_run {
            parts.push("effects were announced, not done".to_owned());
        }
        parts.join("; ")
    }
}

impl Status {
    /// Returns the word that heads a report.
    pub fn word(self) -> &'static str {
        match self {
            Status::Passed => "PASSED",
            Status::Failed => "FAILED",
            Status::Broke => "BROKE OFF",
            Status::Refused => "REFUSED",
            Status::Unverified => "NOTHING VERIFIED",
            Status::Leftovers => "NOT CLEANED UP",
            Status::DryRun => "DRY RUN",
            Status::Deadline => "DEADLINE PASSED",
            Status::Interrupted => "INTERRUPTED",
            Status::Terminated => "TERMINATED",
            Status::Unfinished => "NO END",
        }
    }

    /// Returns whether the run did what it set out to do, so far as anyone can tell.
    pub fn mood(self) -> Mood {
        match self {
            Status::Passed => Mood::Good,
            Status::Unverified | Status::Leftovers | Status::DryRun => Mood::Careful,
            _ => Mood::Bad,
        }
    }
}

/// How a status is to be shown: only a pass that rests on checks is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Green.
    Good,
    /// Amber: it ended well, and there is something to know.
    Careful,
    /// Red.
    Bad,
}

impl Step {
    /// Returns whether it ended in a way that a reader looks for first.
    pub(super) fn is_bad(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Failed | Outcome::Interrupted))
    }
}

/// Returns the word for how a step ended.
pub(super) fn outcome_word(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Ok) => "ok",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Interrupted) => "interrupted",
        Some(Outcome::Planned) => "planned",
        None => "no end",
    }
}

/// Returns facts in words, but for those that tell the coverage.
pub fn facts_in_words(facts: &serde_json::Value) -> Vec<String> {
    const COVERAGE: [&str; 11] = [
        "checked",
        "failed",
        "extent",
        "not_checked",
        "ignored",
        "differences",
        "lawful",
        "not_used",
        "row_differences",
        "row_counts",
        "rows_not_named",
    ];
    match facts {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::Object(map) => {
            let rest = map.iter().filter(|(key, _)| !COVERAGE.contains(&key.as_str()));
            rest.map(|(key, value)| format!("{key}: {}", gather::shown(value))).collect()
        }
        other => vec![gather::shown(other)],
    }
}
