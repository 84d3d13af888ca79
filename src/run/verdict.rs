//! The verdict: what the journal of a run comes to, and the exit code that says so.

use serde::{Deserialize, Serialize};

use super::{Event, Moment, Why};

/// The exit codes: a contract, see the README.
pub mod exit {
    /// Every check passed.
    pub const PASSED: u8 = 0;
    /// A check or an objective failed.
    pub const FAILED: u8 = 1;
    /// It could not run.
    pub const BROKE: u8 = 2;
    /// A safety rule forbids it.
    pub const REFUSED: u8 = 3;
    /// Nothing was verified although that was asked for.
    pub const NOTHING_VERIFIED: u8 = 4;
    /// It passed, but something could not be cleaned up.
    pub const LEFTOVERS: u8 = 5;
    /// The deadline passed.
    pub const DEADLINE: u8 = 124;
    /// Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
    /// SIGTERM.
    pub const TERMINATED: u8 = 143;
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The exit code.
    pub exit_code: u8,
    /// The verdict in one line.
    pub words: String,
    /// How many checks and objectives held.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// How many could not be made.
    pub skipped: usize,
    /// How many things could not be removed.
    pub leftovers: usize,
}

impl Verdict {
    /// Judges a run by its journal.
    pub fn of(moments: &[Moment], stopped: Option<Why>, require_checks: bool, dry_run: bool) -> Self {
        let count = |f: fn(&Event) -> bool| moments.iter().filter(|m| f(&m.event)).count();
        let passed =
            count(|e| matches!(e, Event::Checked(c) if c.passed) || matches!(e, Event::Objective { passed: true, .. }));
        let failed = count(|e| {
            matches!(e, Event::Checked(c) if !c.passed) || matches!(e, Event::Objective { passed: false, .. })
        });
        let skipped = count(|e| matches!(e, Event::Skipped { .. }));
        let leftovers = count(|e| matches!(e, Event::Leftover { .. }));
        let broke = moments.iter().find_map(|m| match &m.event {
            Event::Broke(failure) => Some(failure.kind.as_str()),
            _ => None,
        });
        let checks = passed + failed;
        let (exit_code, words) = match (stopped, broke) {
            (Some(Why::Interrupted), _) => (exit::INTERRUPTED, "interrupted".into()),
            (Some(Why::Terminated), _) => (exit::TERMINATED, "terminated".into()),
            (Some(Why::Deadline), _) => (exit::DEADLINE, "the deadline passed".into()),
            (None, Some("refused")) => (exit::REFUSED, "refused".into()),
            (None, Some(_)) => (exit::BROKE, "could not run to its end".into()),
            (None, None) if failed > 0 => (exit::FAILED, format!("failed: {failed} of {checks} checks")),
            (None, None) if dry_run => (exit::PASSED, "dry run: nothing was changed, nothing was verified".into()),
            (None, None) if checks == 0 && require_checks => (exit::NOTHING_VERIFIED, "nothing was verified".into()),
            (None, None) if leftovers > 0 => {
                (exit::LEFTOVERS, format!("passed, but {leftovers} things could not be cleaned up"))
            }
            (None, None) if checks == 0 => (exit::PASSED, "done, without any check".into()),
            (None, None) if skipped > 0 => (exit::PASSED, format!("passed: {checks} checks, {skipped} skipped")),
            (None, None) => (exit::PASSED, format!("passed: {checks} of {checks} checks")),
        };
        Self { exit_code, words, passed, failed, skipped, leftovers }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Check, ScriptFailure};
    use super::*;

    fn check(passed: bool) -> Event {
        Event::Checked(Check { name: "rows".into(), passed, detail: String::new() })
    }

    fn leftover() -> Event {
        Event::Leftover {
            kind: "container".into(),
            name: "x".into(),
            by_hand: "docker rm x".into(),
            error: "gone".into(),
        }
    }

    fn code(events: Vec<Event>, stopped: Option<Why>, require: bool) -> u8 {
        let moments: Vec<_> = events.into_iter().map(|event| Moment { t: 0.0, step: None, event }).collect();
        Verdict::of(&moments, stopped, require, false).exit_code
    }

    #[test]
    fn each_ending_has_its_exit_code() {
        let broke = |kind: &str| Event::Broke(ScriptFailure { kind: kind.into(), ..ScriptFailure::default() });
        assert_eq!(code(vec![check(true)], None, true), 0);
        assert_eq!(code(vec![check(true), check(false)], None, true), 1);
        assert_eq!(code(vec![check(true), broke("database")], None, false), 2);
        assert_eq!(code(vec![check(true), broke("refused")], None, false), 3);
        assert_eq!(code(vec![], None, true), 4);
        assert_eq!(code(vec![], None, false), 0);
        assert_eq!(code(vec![check(true), leftover()], None, false), 5);
        assert_eq!(code(vec![check(false), leftover()], None, false), 1);
        assert_eq!(code(vec![check(true)], Some(Why::Deadline), false), 124);
        assert_eq!(code(vec![broke("interrupted")], Some(Why::Interrupted), false), 130);
        assert_eq!(code(vec![check(true)], Some(Why::Terminated), false), 143);
    }

    #[test]
    fn a_skipped_check_is_not_a_pass() {
        let skipped = Event::Skipped { name: "amcheck".into(), why: "not installed".into() };
        assert_eq!(code(vec![skipped], None, true), 4);
    }

    #[test]
    fn a_missed_objective_fails_the_run() {
        let missed = Event::Objective { name: "rto".into(), seconds: 90.0, limit: 60.0, passed: false };
        assert_eq!(code(vec![check(true), missed], None, false), 1);
    }
}
