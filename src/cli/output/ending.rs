//! The closing block: the verdict, what it rests on, what is left behind, and what to do next.

use std::path::PathBuf;

use super::Level;
use super::look::Look;
use crate::report::text::line;
use crate::report::{Leftover, Mood, Report, Status};
use crate::units;

/// Where a run left its evidence and reports.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The run's folder.
    pub evidence: PathBuf,
    /// The reports that were written.
    pub reports: Vec<PathBuf>,
}

/// Writes the closing block; the text ends with a new line.
pub fn write(report: &Report, places: &Places, level: Level, look: Look) -> String {
    let mut lines = vec![headline(report, look)];
    if level != Level::Quiet {
        lines.push(format!("  {}", basis(report)));
        lines.extend(report.reach().iter().map(|(label, text)| noted(look, label, text)));
        lines.extend(report.skipped.iter().map(|s| noted(look, "not checked", &format!("{}: {}", s.name, s.why))));
        lines.extend(
            report
                .not_checked()
                .iter()
                .map(|note| noted(look, "not checked", &format!("{}: {}", note.what, note.text))),
        );
    }
    lines.extend(report.leftovers.iter().map(|leftover| left_behind(leftover, look)));
    if level != Level::Quiet {
        lines.extend(where_to_read(report, places).map(|text| noted(look, "report", &text)));
        lines.extend(next(report).map(|text| noted(look, "next", &text)));
    }
    lines.join("\n") + "\n"
}

fn headline(report: &Report, look: Look) -> String {
    let text = report.headline();
    let (word, rest) = text.split_at(report.status.word().len());
    let word = match report.status.mood() {
        Mood::Good => look.bold(&look.good(word)),
        Mood::Careful => look.bold(&look.careful(word)),
        Mood::Bad => look.bad(word),
    };
    format!("{word}{}", look.bold(rest))
}

fn basis(report: &Report) -> String {
    let steps = match report.steps.len() {
        0 => String::new(),
        n => format!("; {}", units::count(n as u64, "step")),
    };
    format!("{}{steps} in {}", report.basis(), units::duration(report.seconds))
}

fn noted(look: Look, label: &str, text: &str) -> String {
    format!("  {} {}", look.accent(&format!("{label}:")), text.replace('\n', "\n    "))
}

fn left_behind(leftover: &Leftover, look: Look) -> String {
    let Leftover { kind, name, by_hand, error } = leftover;
    let what = noted(look, "left behind", &format!("{kind} {name}: {error}"));
    format!("{what}\n    remove it with: {by_hand}")
}

fn where_to_read(report: &Report, places: &Places) -> impl Iterator<Item = String> {
    let shown: Vec<_> = places.reports.iter().map(|path| line(&path.to_string_lossy())).collect();
    let folder = line(&places.evidence.to_string_lossy());
    let text = match (shown.is_empty(), folder.is_empty()) {
        (false, _) => Some(shown.join(", ")),
        (true, false) => Some(format!("runner report {} (evidence in {folder})", report.run)),
        (true, true) => None,
    };
    text.into_iter()
}

/// Returns the next step where the verdict calls for one.
fn next(report: &Report) -> Option<String> {
    let again = again(report);
    match report.status {
        Status::Passed => None,
        Status::Failed | Status::Broke => Some(format!("{again} --keep, which leaves its sandboxes for a look")),
        Status::Refused => None,
        Status::Unverified => Some("add a check to the script: a run without one proves nothing".to_owned()),
        Status::Leftovers => Some("runner gc, which tries to remove it again".to_owned()),
        Status::DryRun => Some(format!("{again}, to do it")),
        Status::Deadline => Some(format!("{again}, with a longer --timeout")),
        Status::Interrupted | Status::Terminated | Status::Unfinished => Some(format!("{again}, to run it again")),
    }
}

/// Returns the command that runs the same script with the same parameters.
fn again(report: &Report) -> String {
    let given = report.parameters.iter().filter(|p| p.given);
    let set = given.map(|p| format!(" --set {}", quoted(&format!("{}={}", p.name, p.value))));
    format!("runner {}{}", quoted(&report.script), set.collect::<String>())
}

/// Quotes a word for the shell where that is needed.
fn quoted(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(bare) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
