//! The corpus of every fuzz target, and every input that ever failed one, hold what must hold for any bytes at all.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../fuzz/properties/mod.rs"]
mod properties;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What must hold for some bytes; it panics where it does not.
type Property = fn(&[u8]);

/// Every target with its property.
const TARGETS: [(&str, Property); 4] = [
    ("archive", properties::archive::archive),
    ("dump", properties::dump::dump),
    ("lexer", properties::lexer::lexer),
    ("manifest", properties::manifest::manifest),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Runs the corpus and the regressions of one target.
fn holds(target: &str) {
    let (_, property) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let mut broken = Vec::new();
    for kind in ["corpus", "regressions"] {
        let inputs = files(&fuzz().join(kind).join(target));
        assert!(!inputs.is_empty(), "{target} has no {kind}");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            // The panic's message is printed above.
            if catch_unwind(AssertUnwindSafe(|| property(&bytes))).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break a property: {broken:#?}");
}

#[test]
fn archives_hold() {
    holds("archive");
}

#[test]
fn dumps_hold() {
    holds("dump");
}

#[test]
fn the_lexer_holds() {
    holds("lexer");
}

#[test]
fn manifests_hold() {
    holds("manifest");
}

#[test]
fn every_fuzz_target_is_run_here() {
    let names: Vec<_> = files(&fuzz().join("fuzz_targets"))
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, TARGETS.map(|(name, _)| name));
}
