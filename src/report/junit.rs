//! The JUnit report, for CI servers: one test case for each check and objective.
//!
//! A CI server shows a suite without a failing case as green. So whatever keeps a run from being a verification is a case
//! of its own: a script that broke off, a run without an end, leftovers, and a run that checked nothing.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{Check, Leftover, Objective, Reached, Report, Skipped, Status, failure};
use crate::error::{Error, Kind, Result};
use crate::run::ScriptFailure;
use crate::units;

impl Report {
    /// Writes the report as JUnit XML.
    ///
    /// # Errors
    /// When the XML library refuses, which would be a bug.
    pub fn to_junit(&self) -> Result<String> {
        let mut document = quick_junit::Report::new(format!("runner: {}", self.script));
        document.set_time(duration(self.seconds)).add_test_suite(suite(self));
        document.to_string().map_err(|e| Error::new(Kind::Bug, "could not write the JUnit report").because(&e))
    }
}

fn suite(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(report.script.as_str());
    suite.set_time(duration(report.seconds));
    if let Some(started) = report.started {
        // As an attribute by hand: the library's own setter wants a time of another crate.
        suite.extra.insert("timestamp".into(), started.to_string().into());
    }
    suite.add_properties(properties(report));
    suite.add_test_cases(report.checks.iter().map(|c| check(report, c)));
    suite.add_test_cases(report.objectives.iter().map(|o| objective(report, o)));
    suite.add_test_cases(report.skipped.iter().map(|s| skipped(report, s)));
    suite.add_test_cases(report.failures.iter().map(|f| broke(report, f)));
    suite.add_test_cases(report.leftovers.iter().map(|l| leftover(report, l)));
    suite.add_test_cases(whole_run(report));
    suite
}

fn properties(report: &Report) -> Vec<Property> {
    let mut all = vec![
        Property::new("run", report.run.as_str()),
        Property::new("tool", report.tool.as_str()),
        Property::new("verdict", report.verdict.as_str()),
        Property::new("verified", report.verified.to_string()),
    ];
    if !report.coverage.is_empty() {
        let told = |r: &Reached| {
            [r.result.word(), &r.why].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(": ")
        };
        all.extend(report.levels.iter().map(|r| Property::new(format!("level.{}", r.level), told(r))));
        all.push(Property::new("coverage", report.touched()));
        all.extend(
            report.not_checked().iter().map(|n| Property::new(format!("not_checked.{}", n.what), n.text.as_str())),
        );
    }
    all.extend(report.parameters.iter().map(|p| Property::new(format!("parameter.{}", p.name), p.value.as_str())));
    all.extend(report.sources.iter().map(|s| Property::new(format!("sha256.{}", s.file), s.sha256.as_str())));
    all
}

fn check(report: &Report, check: &Check) -> TestCase {
    let seen = if check.detail.is_empty() { "the check does not hold" } else { &check.detail };
    let status = if check.passed { TestCaseStatus::success() } else { failed("check", seen) };
    let mut case = case(report, &check.name, check.step, status);
    if check.passed && !check.detail.is_empty() {
        case.set_system_out(check.detail.as_str());
    }
    case
}

fn objective(report: &Report, objective: &Objective) -> TestCase {
    let Objective { name, seconds, limit, passed } = objective;
    let text = format!("{} of {}", units::duration(*seconds), units::duration(*limit));
    let status = if *passed { TestCaseStatus::success() } else { failed("objective", &text) };
    let mut case = case(report, &format!("objective {name}"), None, status);
    case.set_time(duration(*seconds)).set_system_out(text);
    case
}

fn skipped(report: &Report, skipped: &Skipped) -> TestCase {
    case(report, &skipped.name, skipped.step, skip(&skipped.why))
}

fn broke(report: &Report, broke: &ScriptFailure) -> TestCase {
    let mut status = error(&broke.kind, &broke.message);
    status.set_description(failure::plain(broke));
    case(report, "the script runs to its end", None, status)
}

fn leftover(report: &Report, leftover: &Leftover) -> TestCase {
    let Leftover { kind, name, by_hand, error } = leftover;
    let text = format!("{kind} {name} is still there: {error}; remove it with: {by_hand}");
    case(report, &format!("cleanup of {kind} {name}"), None, failed("leftover", &text))
}

/// Returns the case for what concerns the run as a whole, if there is something to say.
fn whole_run(report: &Report) -> Option<TestCase> {
    let verdict = report.verdict.as_str();
    let (name, status) = match report.status {
        Status::Unfinished => ("the run comes to its end", error("run", verdict)),
        Status::Unverified if report.exit_code == Some(0) => ("something is verified", skip("no check was made")),
        Status::Unverified => ("something is verified", error("run", "no check was made")),
        Status::DryRun => ("the script is run", skip(verdict)),
        // A run that broke off or was stopped has a case already, if its journal says why.
        Status::Passed | Status::Failed | Status::Leftovers => return None,
        _ if report.failures.is_empty() => ("the script runs to its end", error("run", verdict)),
        _ => return None,
    };
    Some(case(report, name, None, status))
}

fn case(report: &Report, name: &str, step: Option<usize>, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    let path = report.path(step);
    case.set_classname(if path.is_empty() { report.script.clone() } else { path });
    case
}

fn failed(ty: &str, message: &str) -> TestCaseStatus {
    non_success(NonSuccessKind::Failure, ty, message)
}

fn error(ty: &str, message: &str) -> TestCaseStatus {
    non_success(NonSuccessKind::Error, ty, message)
}

fn non_success(kind: NonSuccessKind, ty: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(ty).set_message(XmlString::new(message));
    status
}

fn skip(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(XmlString::new(why));
    status
}

/// Returns a duration that XML can hold: a clock that went back is none.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::run::Moment;

    fn xml(moments: &[Moment]) -> String {
        Report::of(moments).to_junit().unwrap()
    }

    #[test]
    fn every_check_and_objective_is_a_case() {
        assert_eq!(
            xml(&samples::passed_drill()),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="runner: scripts/drill.rhai" tests="3" skipped="1" failures="0" errors="0" time="5.100">
    <testsuite name="scripts/drill.rhai" tests="3" skipped="1" errors="0" failures="0" time="5.100" timestamp="2025-06-01T12:00:00Z">
        <properties>
            <property name="run" value="20250601-120000-abcd"/>
            <property name="tool" value="runner 0.1.0"/>
            <property name="verdict" value="passed: 2 checks, 1 skipped"/>
            <property name="verified" value="true"/>
            <property name="level.file" value="not checked: nothing in this run asked for it"/>
            <property name="level.parse" value="not checked: nothing in this run asked for it"/>
            <property name="level.restore" value="held"/>
            <property name="level.structure" value="held"/>
            <property name="level.content" value="held"/>
            <property name="level.integrity" value="not checked: nothing in this run asked for it"/>
            <property name="coverage" value="12 tables, 85 columns, 1,000,000 rows, 117.0 MB"/>
            <property name="not_checked.integrity" value="amcheck is not installed"/>
            <property name="parameter.backups" value="/srv/backups"/>
            <property name="parameter.image" value="postgres:15"/>
            <property name="sha256.scripts/drill.rhai" value="9c41"/>
            <property name="sha256.std/checks" value="77aa"/>
        </properties>
        <testcase name="every row is back" classname="drill">
            <system-out>12 tables, 1,000,000 rows</system-out>
        </testcase>
        <testcase name="objective rto" classname="scripts/drill.rhai" time="12.300">
            <system-out>12.3s of 30m</system-out>
        </testcase>
        <testcase name="amcheck" classname="drill">
            <skipped message="not installed"/>
        </testcase>
    </testsuite>
</testsuites>
"#
        );
    }

    #[test]
    fn failures_leftovers_and_hostile_names_are_cases_that_fail() {
        let text = xml(&samples::failed_drill());
        assert!(text.contains(r#"tests="5" skipped="1" failures="3" errors="0""#), "{text}");
        assert!(text.contains(r#"<testcase name="&lt;script&gt;alert("#), "{text}");
        assert!(!text.contains("<script>") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("remove it with: docker rm -f rn-x"), "{text}");
    }

    #[test]
    fn a_run_that_verified_nothing_is_never_a_green_suite() {
        for (moments, word) in [
            (samples::broken_run(), r#"<error message="could not connect to db:5432" type="database">"#),
            (samples::killed_run(), r#"<error message="no end in the journal"#),
            (samples::unchecked_run(), r#"<skipped message="no check was made"/>"#),
            (samples::dry_run(), r#"<skipped message="dry run: nothing was changed"#),
            (Vec::new(), r#"<error message="no end in the journal"#),
        ] {
            let text = xml(&moments);
            assert!(text.contains(word), "{word} is not in {text}");
        }
    }
}
