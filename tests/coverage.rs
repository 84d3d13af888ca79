//! `docs/coverage.md` names files and tests that are there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns what a line names between backticks.
fn named(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Says what is wrong with a name: `path`, or `path::test`.
fn missing(name: &str) -> Option<String> {
    let (path, test) = name.split_once("::").map_or((name, None), |(path, test)| (path, Some(test)));
    let Ok(text) = std::fs::read_to_string(root().join(path)) else {
        return Some(format!("{path} is not there"));
    };
    let test = test?;
    (!text.contains(&format!("fn {test}("))).then(|| format!("{path} has no test {test}"))
}

#[test]
fn every_file_and_test_of_the_table_is_there() {
    let page = std::fs::read_to_string(root().join("docs/coverage.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| M") || line.contains("| `tests/")).collect();
    assert!(rows.len() > 10, "the table has only {} rows", rows.len());
    let wrong: Vec<_> = rows.iter().flat_map(|row| named(row)).filter_map(missing).collect();
    assert_eq!(wrong, Vec::<String>::new());
    for row in rows.iter().filter(|row| row.contains("| done |")) {
        assert!(named(row).iter().any(|name| name.starts_with("tests/")), "no test proves {row}");
    }
}

#[test]
fn a_name_that_is_not_there_is_seen() {
    assert_eq!(missing("docs/absent.md").unwrap(), "docs/absent.md is not there");
    assert!(missing("tests/coverage.rs::no_such_test").is_some());
    assert!(missing("tests/coverage.rs::a_name_that_is_not_there_is_seen").is_none());
}
