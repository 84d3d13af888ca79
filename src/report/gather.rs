//! From the journal to the report: sorts events into lists and cleans every text on the way.

use serde_json::Value;

use super::text::{block, line};
use super::{
    Announced, Check, Counts, Coverage, Evidence, Leftover, Measure, Message, NOT_RECORDED, Note, Objective, Parameter,
    Report, Skipped, Source, Status, Step, failure, levels,
};
use crate::compare::rows::{RowDifference, TableRows};
use crate::compare::{Extent, Level};
use crate::run::{Event, Moment, Verdict, exit};

pub(super) fn report(moments: &[Moment]) -> Report {
    let mut report = empty();
    report.seconds = moments.iter().map(|m| m.t).fold(0.0, f64::max);
    for moment in moments {
        add(&mut report, moment);
    }
    let Verdict { passed, failed, skipped, leftovers, .. } = Verdict::of(moments, None, false, report.dry_run);
    report.counts = Counts { passed, failed, skipped, leftovers };
    report.status = status(&report);
    report.verified =
        passed > 0 && failed == 0 && !report.dry_run && matches!(report.status, Status::Passed | Status::Leftovers);
    report.coverage = report.evidence.iter().filter_map(coverage).collect();
    report.levels = levels::of(&report);
    report.extent = levels::extent(&report);
    report
}

fn empty() -> Report {
    Report {
        run: NOT_RECORDED.to_owned(),
        script: NOT_RECORDED.to_owned(),
        tool: NOT_RECORDED.to_owned(),
        dry_run: false,
        started: None,
        ended: None,
        seconds: 0.0,
        status: Status::Unfinished,
        verified: false,
        exit_code: None,
        verdict: "no end in the journal: the run was killed, or is still going on".to_owned(),
        counts: Counts::default(),
        failures: Vec::new(),
        checks: Vec::new(),
        skipped: Vec::new(),
        objectives: Vec::new(),
        measures: Vec::new(),
        levels: Vec::new(),
        extent: Extent::default(),
        coverage: Vec::new(),
        steps: Vec::new(),
        evidence: Vec::new(),
        announced: Vec::new(),
        messages: Vec::new(),
        leftovers: Vec::new(),
        parameters: Vec::new(),
        sources: Vec::new(),
    }
}

fn add(report: &mut Report, moment: &Moment) {
    let step = moment.step;
    match &moment.event {
        Event::Started { run, at, script, sources, tool, dry_run } => {
            report.run = line(run);
            report.started = Some(*at);
            report.script = line(script);
            report.tool = line(tool);
            report.dry_run = *dry_run;
            report.sources = sources.iter().map(|(f, sum)| Source { file: line(f), sha256: line(sum) }).collect();
        }
        Event::Parameter { name, value, given } => {
            report.parameters.retain(|p| p.name != line(name));
            report.parameters.push(Parameter { name: line(name), value: line(value), given: *given });
        }
        Event::StepStarted { id, name } => begin_step(report, moment, *id, name),
        Event::StepEnded { id, outcome, seconds, detail, .. } => {
            if let Some(step) = report.steps.iter_mut().find(|s| s.id == *id) {
                step.outcome = Some(*outcome);
                step.seconds = Some(*seconds);
                step.detail = block(detail);
            }
        }
        Event::Checked(check) => report.checks.push(Check {
            name: line(&check.name),
            passed: check.passed,
            detail: block(&check.detail),
            step,
        }),
        Event::Skipped { name, why } => report.skipped.push(Skipped { name: line(name), why: block(why), step }),
        Event::Measured { name, seconds } => {
            report.measures.push(Measure { name: line(name), seconds: *seconds });
        }
        Event::Objective { name, seconds, limit, passed } => {
            report.objectives.push(Objective { name: line(name), seconds: *seconds, limit: *limit, passed: *passed })
        }
        Event::Evidence { primitive, summary, facts } => report.evidence.push(Evidence {
            primitive: line(primitive),
            summary: line(summary),
            facts: clean(facts),
            step,
        }),
        Event::Announced { primitive, text } => {
            report.announced.push(Announced { primitive: line(primitive), text: block(text), step });
        }
        Event::Said { text, warning } => {
            report.messages.push(Message { text: block(text), warning: *warning, at: moment.t });
        }
        Event::Leftover { kind, name, by_hand, error } => report.leftovers.push(Leftover {
            kind: line(kind),
            name: line(name),
            by_hand: line(by_hand),
            error: block(error),
        }),
        Event::Broke(failure) => report.failures.push(failure::cleaned(failure)),
        Event::Ended { at, exit_code, verdict, seconds } => {
            report.ended = Some(*at);
            report.exit_code = Some(*exit_code);
            report.verdict = line(verdict);
            report.seconds = *seconds;
        }
    }
}

/// Puts a step behind its parent and the steps that are in there already. A parent that the journal has not named yet
/// does not count, so that even a forged journal makes a tree.
fn begin_step(report: &mut Report, moment: &Moment, id: usize, name: &str) {
    let steps = &mut report.steps;
    let parent = moment.step.and_then(|id| steps.iter().position(|s| s.id == id));
    let depth = parent.map_or(0, |at| steps[at].depth + 1);
    let at = parent.map_or(steps.len(), |parent| {
        let inside = steps[parent + 1..].iter().take_while(|s| s.depth >= depth).count();
        parent + 1 + inside
    });
    let parent = parent.map(|at| steps[at].id);
    let step = Step {
        id,
        parent,
        depth,
        name: line(name),
        started: moment.t,
        seconds: None,
        outcome: None,
        detail: String::new(),
    };
    if steps.iter().all(|s| s.id != id) {
        steps.insert(at, step);
    }
}

fn status(report: &Report) -> Status {
    let checks = report.counts.passed + report.counts.failed;
    match report.exit_code {
        None => Status::Unfinished,
        Some(exit::PASSED) if report.dry_run => Status::DryRun,
        Some(exit::PASSED) if checks == 0 => Status::Unverified,
        Some(exit::PASSED) => Status::Passed,
        Some(exit::FAILED) => Status::Failed,
        Some(exit::REFUSED) => Status::Refused,
        Some(exit::NOTHING_VERIFIED) => Status::Unverified,
        Some(exit::LEFTOVERS) => Status::Leftovers,
        Some(exit::DEADLINE) => Status::Deadline,
        Some(exit::INTERRUPTED) => Status::Interrupted,
        Some(exit::TERMINATED) => Status::Terminated,
        Some(_) => Status::Broke,
    }
}

/// Reads how far something was verified from facts that say so: `checked`, `not_checked`, `ignored`.
fn coverage(evidence: &Evidence) -> Option<Coverage> {
    let list = |key: &str| evidence.facts.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    evidence.facts.get("checked")?.as_array()?;
    let levels =
        |key: &str| list(key).iter().filter_map(|level| serde_json::from_value::<Level>(level.clone()).ok()).collect();
    let extent = evidence.facts.get("extent").cloned().unwrap_or_default();
    let note = |what: String, text: String| Note { what, text };
    let not_checked = list("not_checked").iter().map(|e| note(shown(&e[0]), shown(&e[1])));
    let ignored = list("ignored").iter().map(|e| {
        let difference = &e["difference"];
        note(format!("{}: {}", shown(&difference["object"]), shown(&difference["what"])), shown(&e["reason"]))
    });
    let differences = list("differences").iter().map(|d| note(shown(&d["object"]), change(d)));
    let not_used = list("not_used").iter().map(|object| note(shown(object), "nothing differed in it".into()));
    let (lawful, in_no_dump): (Vec<_>, Vec<_>) = list("lawful").iter().partition(|l| l.get("change").is_some());
    let what = |lawful: &Value| format!("{}: {}", shown(&lawful["object"]), shown(&lawful["what"]));
    let lawful = lawful.into_iter().map(|l| note(format!("{} {}", what(l), change_of(l)), shown(&l["reason"])));
    let in_no_dump = in_no_dump.into_iter().map(|l| note(what(l), shown(&l["reason"])));
    Some(Coverage {
        primitive: evidence.primitive.clone(),
        summary: evidence.summary.clone(),
        levels: levels("checked"),
        failed: levels("failed"),
        extent: serde_json::from_value(extent).unwrap_or_default(),
        differences: differences.collect(),
        rows: rows(&evidence.facts),
        not_checked: not_checked.collect(),
        ignored: ignored.collect(),
        lawful: lawful.collect(),
        in_no_dump: in_no_dump.collect(),
        not_used: not_used.collect(),
        step: evidence.step,
    })
}

/// Lists the rows that differ below their tables.
fn rows(facts: &Value) -> Vec<Note> {
    let list = |key: &str| facts.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let tables = list("row_counts").into_iter().filter_map(|v| serde_json::from_value::<TableRows>(v).ok());
    let rows: Vec<RowDifference> =
        list("row_differences").into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect();
    let mut notes = Vec::new();
    for table in tables {
        notes.push(Note { what: table.table.clone(), text: table.to_string() });
        let named = rows.iter().filter(|row| row.table == table.table);
        notes.extend(named.map(|row| Note { what: format!("{}: {}", row.table, row.name()), text: row.fate() }));
    }
    let not_named = list("rows_not_named");
    notes.extend(not_named.iter().map(|e| Note { what: shown(&e[0]), text: format!("not named: {}", shown(&e[1])) }));
    notes
}

/// Says what became of one thing: `rows changed, expected 12, found 11`.
fn change(difference: &Value) -> String {
    format!("{} {}", shown(&difference["what"]), change_of(difference))
}

fn change_of(difference: &Value) -> String {
    let mut text = shown(&difference["change"]);
    for side in ["expected", "found"] {
        if let Some(value) = difference.get(side) {
            text.push_str(&format!(", {side} {}", shown(value)));
        }
    }
    text
}

/// Returns a JSON value as people read it: texts without quotes, nothing for null.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Cleans the texts and the keys of a JSON value: a table's name may be a key.
fn clean(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(block(text)),
        Value::Array(items) => items.iter().map(clean).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (line(key), clean(value))).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn steps_stand_below_the_step_around_them_also_when_branches_mix() {
        let begin =
            |id, parent| Moment { t: 1.0, step: parent, event: Event::StepStarted { id, name: format!("s{id}") } };
        let moments = [
            begin(1, None),
            begin(2, None),
            begin(3, Some(1)),
            begin(4, Some(2)),
            begin(5, Some(3)),
            begin(6, Some(9)),
        ];
        let report = report(&moments);
        let tree: Vec<_> = report.steps.iter().map(|s| (s.depth, s.name.as_str())).collect();
        assert_eq!(tree, [(0, "s1"), (1, "s3"), (2, "s5"), (0, "s2"), (1, "s4"), (0, "s6")]);
        assert_eq!(report.path(Some(5)), "s1 › s3 › s5");
    }

    #[test]
    fn each_ending_has_its_status_and_only_checks_verify() {
        let all = [
            (samples::passed_drill(), Status::Passed, true),
            (samples::failed_drill(), Status::Failed, false),
            (samples::broken_run(), Status::Broke, false),
            (samples::killed_run(), Status::Unfinished, false),
            (samples::unchecked_run(), Status::Unverified, false),
            (samples::dry_run(), Status::DryRun, false),
            (Vec::new(), Status::Unfinished, false),
        ];
        for (moments, status, verified) in all {
            let report = report(&moments);
            assert_eq!((report.status, report.verified), (status, verified), "{}", report.verdict);
        }
    }

    #[test]
    fn a_secret_that_became_known_late_is_not_in_the_report() {
        let moments = [samples::check(1.0, None, "token tok-3f9a2b", false, "tok-3f9a2b")];
        let _secret = crate::secret::Secret::new("tok-3f9a2b");
        let report = report(&moments);
        assert_eq!((report.checks[0].name.as_str(), report.checks[0].detail.as_str()), ("token [secret]", "[secret]"));
    }

    #[test]
    fn keys_of_facts_are_cleaned_like_texts() {
        assert_eq!(
            clean(&serde_json::json!({"a\u{1b}": ["\u{202e}"]})),
            serde_json::json!({"a\\u{1b}": ["\\u{202e}"]})
        );
    }
}
