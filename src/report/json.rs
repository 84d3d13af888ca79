//! The JSON report: one document with stable keys, which `--json` prints and `report.json` keeps.
//!
//! | key | holds |
//! | --- | --- |
//! | `format`, `version` | `"runner-report"` and the version of this list; a key is never renamed, new ones may come |
//! | `run`, `script`, `tool`, `dry_run` | which run of what by which `runner` |
//! | `started`, `ended`, `seconds` | UTC times; `ended` is null for a run that was killed or still goes on |
//! | `status`, `verified`, `exit_code`, `verdict` | `passed`, `failed`, `broke`, `refused`, `unverified`, `leftovers`, `dry_run`, `deadline`, `interrupted`, `terminated` or `unfinished`; `verified` is true only when checks were made and all hold |
//! | `counts` | `passed`, `failed`, `skipped`, `leftovers`; objectives count as checks |
//! | `failures` | `kind`, `message`, `place`, `line`, `caret`, `calls`, `step`, `causes`, `stderr`, `hint` |
//! | `checks` | `name`, `passed`, `detail`, `step` |
//! | `skipped` | `name`, `why`, `step` |
//! | `objectives`, `measures` | `name`, `seconds`, and for objectives `limit`, `passed` |
//! | `levels` | one entry for each of the six, in their order: `level`, `result` (`held`, `failed` or `not_checked`), `by` (the verbs that asked for it, with their steps), `why` (what does not hold, or why nothing asked) |
//! | `extent` | how much was touched: `components`, `files`, `tables`, `columns`, `rows`, `bytes`; what several verbs read counts once |
//! | `coverage` | call by call: `primitive`, `summary`, `levels` (asked for), `failed` (of these), `extent`, `differences`, `rows`, `not_checked`, `ignored`, `lawful`, `in_no_dump` and `not_used` (each `what`, `text`), `step` |
//! | `steps` | `id`, `parent`, `depth`, `name`, `started` (seconds since the run began), `seconds`, `outcome`, `detail` |
//! | `evidence` | `primitive`, `summary`, `facts`, `step` |
//! | `announced` | what a dry run would do: `primitive`, `text`, `step` |
//! | `messages` | `text`, `warning`, `at` |
//! | `leftovers` | `kind`, `name`, `by_hand`, `error` |
//! | `parameters` | `name`, `value`, `given` |
//! | `sources` | `file`, `sha256` |
//!
//! `step` is the `id` of a step, or null at the top of the script.

use serde::Serialize;

use super::Report;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u8,
    #[serde(flatten)]
    report: &'a Report,
}

impl Report {
    /// Writes the report as one JSON document that ends with a new line.
    pub fn to_json(&self) -> String {
        let document = Document { format: "runner-report", version: 1, report: self };
        let text = serde_json::to_string_pretty(&document).expect("a report has only text keys and finite numbers");
        text + "\n"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::samples;
    use super::*;

    fn parsed(report: &Report) -> Value {
        serde_json::from_str(&report.to_json()).unwrap()
    }

    #[test]
    fn the_keys_are_those_that_are_documented() {
        let document = parsed(&Report::of(&samples::failed_drill()));
        let manual = include_str!("json.rs");
        let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys.join(" "),
            "format version run script tool dry_run started ended seconds status verified exit_code verdict counts \
             failures checks skipped objectives measures levels extent coverage steps evidence announced messages leftovers \
             parameters sources"
        );
        for key in keys {
            assert!(manual.contains(&format!("`{key}`")), "{key} is not documented");
        }
        for list in
            ["checks", "skipped", "objectives", "levels", "coverage", "steps", "evidence", "leftovers", "parameters"]
        {
            for key in document[list][0].as_object().unwrap_or_else(|| panic!("{list} is empty")).keys() {
                assert!(manual.contains(&format!("`{key}`")), "{list}.{key} is not documented");
            }
        }
    }

    #[test]
    fn a_program_can_read_what_was_verified_and_how_far() {
        let document = parsed(&Report::of(&samples::passed_drill()));
        assert_eq!((document["status"].as_str(), document["verified"].as_bool()), (Some("passed"), Some(true)));
        assert_eq!(document["exit_code"], 0);
        assert_eq!(document["coverage"][0]["levels"], serde_json::json!(["restore", "structure", "content"]));
        assert_eq!(document["coverage"][0]["not_checked"][0]["what"], "integrity");
        assert_eq!(
            document["levels"][4],
            serde_json::json!({
                "level": "content", "result": "held", "by": ["drill › compare: compare"], "why": ""
            })
        );
        assert_eq!(document["levels"][5]["why"], "nothing in this run asked for it");
        assert_eq!(document["extent"]["columns"], 85);
        assert_eq!(document["steps"][1]["parent"], 1);
    }

    #[test]
    fn a_killed_run_has_no_end() {
        let document = parsed(&Report::of(&samples::killed_run()));
        assert_eq!((document["status"].as_str(), document["exit_code"].is_null()), (Some("unfinished"), true));
        assert!(document["steps"][0]["outcome"].is_null() && document["ended"].is_null());
    }
}
