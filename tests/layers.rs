//! The house stands: who may use whom, and where the names of big libraries may be written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms from the roof down: a room may use what stands in a later row, and nothing in its own row or above.
/// What a room may use of its own row is said in `BESIDE`.
const ROWS: [&[&str]; 8] = [
    &["main"],
    &["cli"],
    &["engine"],
    &["primitives"],
    &["postgres", "sqlite", "report", "script", "http", "webhook", "s3"],
    &["backups", "docker", "git"],
    &["compare", "run", "rows", "signing"],
    &["cleanup", "files", "process", "progress", "secret", "error", "units"],
];

/// Arrows inside a row, each towards the simpler thing.
const BESIDE: [(&str, &str); 12] = [
    ("cleanup", "error"),
    ("files", "cleanup"),
    ("files", "error"),
    ("files", "process"),
    ("files", "progress"),
    ("files", "secret"),
    ("files", "units"),
    ("http", "webhook"),
    ("process", "error"),
    ("run", "signing"),
    ("process", "secret"),
    ("units", "error"),
];

/// Libraries with the only rooms that may name them.
const NAMED_IN: [(&str, &[&str]); 7] = [
    ("rhai", &["engine", "primitives", "script"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("notify", &["cli"]),
    ("tokio_postgres", &["postgres"]),
    ("bollard", &["docker"]),
    ("rusqlite", &["sqlite"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut waiting, mut found) = (vec![src.clone()], Vec::new());
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inside = path.strip_prefix(&src).unwrap().to_owned();
                let room = inside.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((room, inside, text));
            }
        }
    }
    found
}

/// `lib` lists the rooms; files of tests are no part of the house.
fn is_test(room: &str, file: &Path) -> bool {
    room == "lib" || room == "world" || file.to_string_lossy().contains("test")
}

/// Returns the code without comments and without its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Returns the rooms that a text names: `crate::room` or `crate::{room::…, room::…}`.
fn used(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        let inside = match after.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => after,
        };
        let names = if after.starts_with('{') { inside.split(',').collect() } else { vec![inside] };
        for name in names {
            let word: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(word);
        }
    }
    rooms
}

#[test]
fn arrows_go_down_only() {
    let row = |room: &str| ROWS.iter().position(|row| row.contains(&room));
    let mut wrong: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (room, file, text) in sources() {
        if is_test(&room, &file) {
            continue;
        }
        let mine = row(&room).unwrap_or_else(|| panic!("{room} has no place in the house: put it into ROWS"));
        for other in used(&code(&text)).into_iter().filter(|other| *other != room) {
            let Some(theirs) = row(&other) else { continue };
            let allowed = theirs > mine || BESIDE.contains(&(room.as_str(), other.as_str()));
            if !allowed {
                wrong.insert(format!("{room} → {other}"), file.clone());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn primitives_do_not_lean_on_engine_and_big_libraries_stay_in_their_rooms() {
    for (room, file, text) in sources() {
        if is_test(&room, &file) {
            continue;
        }
        let code = code(&text);
        for (library, rooms) in NAMED_IN {
            // A verb may be called like a library: only an import or a path from the root counts.
            let named = [format!("use {library}::"), format!("use {library};"), format!("::{library}::")];
            let named = named.iter().any(|n| code.contains(n.as_str()));
            assert!(!named || rooms.contains(&room.as_str()), "{} names {library}", file.display());
        }
    }
}

#[test]
fn every_file_says_in_its_first_line_what_it_owns() {
    for (_, file, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not say what it owns", file.display());
    }
}

#[test]
fn the_rule_can_be_broken() {
    assert_eq!(used("use crate::{engine::X, run};\ncrate::cli::main()"), ["engine", "run", "cli"]);
    assert_eq!(code("a // crate::cli\n#[cfg(test)]\nmod tests {\n crate::cli }"), "a ");
}
