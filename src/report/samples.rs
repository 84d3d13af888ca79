//! Journals made by hand, for the tests of every format.

use serde_json::json;

use crate::run::{Check, Event, Moment, Outcome, ScriptFailure};

/// Names as a hostile database could hold them.
pub(super) const HOSTILE: &str =
    "<script>alert('x')</script> | [a](http://evil) `b` \"q\" & @ops \u{1b}[2J\u{202e}\n# big";

fn at(t: f64, step: Option<usize>, event: Event) -> Moment {
    Moment { t, step, event }
}

fn started(dry_run: bool) -> Moment {
    at(
        0.0,
        None,
        Event::Started {
            run: "20250601-120000-abcd".into(),
            at: "2025-06-01T12:00:00Z".parse().unwrap(),
            script: "scripts/drill.rhai".into(),
            sources: vec![("scripts/drill.rhai".into(), "9c41".into()), ("std/checks".into(), "77aa".into())],
            tool: "runner 0.1.0".into(),
            dry_run,
        },
    )
}

fn ended(t: f64, exit_code: u8, verdict: &str) -> Moment {
    let at_time = "2025-06-01T12:00:20Z".parse().unwrap();
    at(t, None, Event::Ended { at: at_time, exit_code, verdict: verdict.into(), seconds: t })
}

fn begin(t: f64, parent: Option<usize>, id: usize, name: &str) -> Moment {
    at(t, parent, Event::StepStarted { id, name: name.into() })
}

fn end(t: f64, parent: Option<usize>, id: usize, name: &str, outcome: Outcome, seconds: f64) -> Moment {
    at(t, parent, Event::StepEnded { id, name: name.into(), outcome, seconds, detail: String::new() })
}

pub(super) fn check(t: f64, step: Option<usize>, name: &str, passed: bool, detail: &str) -> Moment {
    at(t, step, Event::Checked(Check { name: name.into(), passed, detail: detail.into() }))
}

fn drill(differences: bool) -> Vec<Moment> {
    let parameter = |name: &str, value: &str, given| {
        at(0.1, None, Event::Parameter { name: name.into(), value: value.into(), given })
    };
    let found = json!([{"object": HOSTILE, "what": "rows", "change": "changed", "expected": "12", "found": "11"}]);
    let comparison = json!({
        "equal": !differences, "tables": 12, "rows": 1_000_000,
        "differences": if differences { found } else { json!([]) },
        "ignored": [{"difference": {"object": "MATERIALIZED VIEW app.totals", "what": "rows", "change": "missing"},
                     "reason": "refreshed by the restore"}],
        "lawful": [{"object": "MATERIALIZED VIEW app.sums", "what": "content", "change": "changed", "expected": "3 rows",
                    "found": "4 rows", "reason": "the restore refreshed it"},
                   {"object": "DATABASE", "what": "planner statistics", "reason": "no backup holds them"}],
        "not_used": ["table app.gone"],
        "row_counts": if differences {
            json!([{"table": HOSTILE, "key": ["id"], "missing": 1, "extra": 0, "changed": 1, "exact": true}])
        } else { json!([]) },
        "row_differences": if differences { json!([
            {"table": HOSTILE, "key": {"id": "17"}, "change": "missing", "columns": [], "times": 1},
            {"table": HOSTILE, "key": {"id": HOSTILE}, "change": "changed", "columns": ["name", HOSTILE], "times": 1},
        ]) } else { json!([]) },
        "checked": ["restore", "structure", "content"], "failed": if differences { json!(["content"]) } else { json!([]) },
        "extent": {"tables": 12, "columns": 85, "rows": 1_000_000, "bytes": 117_000_000},
        "not_checked": [["integrity", "amcheck is not installed"]],
    });
    vec![
        started(false),
        parameter("backups", "/srv/backups", true),
        parameter("image", "postgres:15", false),
        begin(0.2, None, 1, "drill"),
        begin(0.3, Some(1), 2, "restore"),
        at(
            3.4,
            Some(2),
            Event::Evidence {
                primitive: "restore".into(),
                summary: "117.0 MB in 12 tables".into(),
                facts: json!({"bytes": 117_000_000, "sha256": "ab12"}),
            },
        ),
        end(3.5, Some(1), 2, "restore", Outcome::Ok, 3.2),
        begin(3.5, Some(1), 3, "compare"),
        at(
            4.5,
            Some(3),
            Event::Evidence {
                primitive: "compare".into(),
                summary: "12 tables, 1,000,000 rows".into(),
                facts: comparison,
            },
        ),
        end(4.6, Some(1), 3, "compare", Outcome::Ok, 1.1),
        check(4.7, Some(1), "every row is back", !differences, "12 tables, 1,000,000 rows"),
        at(4.8, Some(1), Event::Skipped { name: "amcheck".into(), why: "not installed".into() }),
        end(4.9, None, 1, "drill", Outcome::Ok, 4.7),
        at(5.0, None, Event::Measured { name: "rto".into(), seconds: 12.3 }),
        at(5.0, None, Event::Objective { name: "rto".into(), seconds: 12.3, limit: 1800.0, passed: true }),
    ]
}

/// A drill that passed, with one check skipped.
pub(super) fn passed_drill() -> Vec<Moment> {
    let mut moments = drill(false);
    moments.push(ended(5.1, 0, "passed: 2 checks, 1 skipped"));
    moments
}

/// A drill in which a row differs, in a database with hostile names, and which leaves a container.
pub(super) fn failed_drill() -> Vec<Moment> {
    let mut moments = drill(true);
    moments.push(check(5.0, Some(3), HOSTILE, false, HOSTILE));
    moments.push(at(5.0, None, Event::Said { text: HOSTILE.into(), warning: true }));
    moments.push(at(
        5.0,
        None,
        Event::Leftover {
            kind: "container".into(),
            name: "rn-x".into(),
            by_hand: "docker rm -f rn-x".into(),
            error: "the engine went away".into(),
        },
    ));
    moments.push(ended(5.1, 1, "failed: 2 of 3 checks"));
    moments
}

/// A script that broke off in its first step.
pub(super) fn broken_run() -> Vec<Moment> {
    let failure = ScriptFailure {
        kind: "database".into(),
        message: "could not connect to db:5432".into(),
        place: Some("scripts/drill.rhai:3:9".into()),
        line: Some("let x = postgres(url);".into()),
        caret: Some((9, 8)),
        step: Some("connect".into()),
        hint: Some("is the server up?".into()),
        ..ScriptFailure::default()
    };
    vec![
        started(false),
        begin(0.1, None, 1, "connect"),
        end(0.2, None, 1, "connect", Outcome::Failed, 0.1),
        at(0.2, None, Event::Broke(failure)),
        ended(0.3, 2, "could not run to its end"),
    ]
}

/// A run that was killed in its first step.
pub(super) fn killed_run() -> Vec<Moment> {
    vec![
        started(false),
        begin(0.1, None, 1, "restore"),
        begin(0.2, Some(1), 2, "load"),
        check(2.5, Some(2), "a", true, ""),
    ]
}

/// A run that came to its end without a single check.
pub(super) fn unchecked_run() -> Vec<Moment> {
    vec![started(false), ended(1.0, 0, "done, without any check")]
}

/// A dry run.
pub(super) fn dry_run() -> Vec<Moment> {
    let would = Event::Announced { primitive: "dump".into(), text: "write backups/x.sql.gz".into() };
    vec![started(true), at(0.1, None, would), ended(0.2, 0, "dry run: nothing was changed, nothing was verified")]
}
