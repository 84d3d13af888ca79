//! The levels of a run: which were asked for, by whom and with what result, and which were not, and why.

use serde::Serialize;

use super::{Coverage, Report, Status};
use crate::compare::{Extent, Level};

/// What a run says of one level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The level.
    pub level: Level,
    /// What came of it.
    pub result: Outcome,
    /// The verbs that asked for it, each with the step that it stood in.
    pub by: Vec<String>,
    /// What does not hold, or why nothing asked for it; empty where it holds.
    pub why: String,
}

/// What came of a level. There is no word for a check that could not be made but that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Whoever asked for it found it to hold.
    Held,
    /// It does not hold somewhere, or somewhere a part of it could not be read.
    Failed,
    /// Nothing asked for it.
    NotChecked,
}

impl Outcome {
    /// Returns the word that reports use.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Held => "held",
            Outcome::Failed => "failed",
            Outcome::NotChecked => "not checked",
        }
    }
}

impl Coverage {
    /// Returns what came of a level here.
    pub fn outcome(&self, level: Level) -> Outcome {
        match (self.levels.contains(&level), self.failed.contains(&level)) {
            (_, true) => Outcome::Failed,
            (true, false) => Outcome::Held,
            (false, false) => Outcome::NotChecked,
        }
    }
}

/// Says for each level what the run came to. A dry run does read, but what it reads proves nothing of what it announces.
pub(super) fn of(report: &Report) -> Vec<Reached> {
    let reached = |level| {
        let all = || report.coverage.iter().filter(move |c| !report.dry_run && c.outcome(level) != Outcome::NotChecked);
        let failed = all().find(|c| c.outcome(level) == Outcome::Failed);
        let by: Vec<_> = all().map(|c| by(report, c)).collect();
        let (result, why) = match failed {
            Some(failed) => (Outcome::Failed, failed.summary.clone()),
            None if by.is_empty() => (Outcome::NotChecked, not_asked(report).to_owned()),
            None => (Outcome::Held, String::new()),
        };
        Reached { level, result, by, why }
    };
    Level::ALL.into_iter().map(reached).collect()
}

fn by(report: &Report, coverage: &Coverage) -> String {
    match report.path(coverage.step) {
        path if path.is_empty() => coverage.primitive.clone(),
        path => format!("{path}: {}", coverage.primitive),
    }
}

fn not_asked(report: &Report) -> &'static str {
    match report.status {
        _ if report.dry_run => "a dry run verifies nothing",
        Status::Passed | Status::Failed | Status::Unverified | Status::Leftovers | Status::DryRun => {
            "nothing in this run asked for it"
        }
        _ => "the run ended before anything asked for it",
    }
}

/// Returns how much the run touched. What one verb touched is added up; the same things read by several verbs count once.
pub(super) fn extent(report: &Report) -> Extent {
    let mut verbs: Vec<&str> = report.coverage.iter().map(|c| c.primitive.as_str()).collect();
    verbs.sort_unstable();
    verbs.dedup();
    let of_verb = |verb: &str| {
        let calls = report.coverage.iter().filter(|c| c.primitive == verb);
        calls.fold(Extent::default(), |sum, call| sum.and(call.extent))
    };
    if report.dry_run { Extent::default() } else { verbs.into_iter().map(of_verb).fold(Extent::default(), Extent::or) }
}

/// Says in one line what came of the levels, or nothing where the run has none to speak of.
pub(super) fn in_words(report: &Report) -> Option<String> {
    let named = |wanted| {
        let levels = report.levels.iter().filter(move |reached| reached.result == wanted);
        levels.map(|reached| reached.level.to_string()).collect::<Vec<_>>().join(", ")
    };
    let asked = report.levels.iter().any(|reached| reached.result != Outcome::NotChecked);
    let parts = [
        (named(Outcome::Held), ""),
        (named(Outcome::Failed), "failed: "),
        (named(Outcome::NotChecked), "not checked: "),
    ];
    let parts = parts.iter().filter(|(levels, _)| !levels.is_empty());
    asked.then(|| parts.map(|(levels, label)| format!("{label}{levels}")).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn told(moments: &[crate::run::Moment]) -> Vec<(String, &'static str, String)> {
        let report = Report::of(moments);
        report.levels.into_iter().map(|r| (r.level.to_string(), r.result.word(), r.why)).collect()
    }

    #[test]
    fn each_level_says_what_came_of_it_or_why_nothing_did() {
        let report = Report::of(&samples::passed_drill());
        assert_eq!(in_words(&report).unwrap(), "restore, structure, content; not checked: file, parse, integrity");
        assert_eq!(report.extent.to_string(), "12 tables, 85 columns, 1,000,000 rows, 117.0 MB");
        assert_eq!(report.levels[3].by, ["drill › compare: compare"]);
        let failed = Report::of(&samples::failed_drill());
        assert_eq!(
            in_words(&failed).unwrap(),
            "restore, structure; failed: content; not checked: file, parse, integrity"
        );
        assert_eq!(failed.levels[4].why, "12 tables, 1,000,000 rows");
    }

    #[test]
    fn what_nothing_asked_for_is_not_a_pass() {
        let why = |moments: Vec<crate::run::Moment>| {
            told(&moments).into_iter().map(|(_, word, why)| format!("{word}: {why}")).collect::<Vec<_>>()
        };
        assert_eq!(why(samples::unchecked_run()), ["not checked: nothing in this run asked for it"; 6]);
        assert_eq!(why(samples::broken_run()), ["not checked: the run ended before anything asked for it"; 6]);
        assert_eq!(why(samples::dry_run()), ["not checked: a dry run verifies nothing"; 6]);
        assert!(in_words(&Report::of(&samples::dry_run())).is_none());
    }

    #[test]
    fn a_dry_run_claims_nothing_of_what_it_read() {
        let mut moments = samples::passed_drill();
        if let crate::run::Event::Started { dry_run, .. } = &mut moments[0].event {
            *dry_run = true;
        }
        let report = Report::of(&moments);
        assert!(report.levels.iter().all(|r| r.result == Outcome::NotChecked));
        assert_eq!(report.extent, Extent::default());
    }
}
