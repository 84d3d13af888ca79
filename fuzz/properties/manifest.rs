//! What holds for every list that describes a backup: manifest, set metadata, tree, inventory, checksums.

use std::fs;
use std::path::{Component, Path};

use jiff::Timestamp;
use runner::backups::{BackupSet, Catalog, Manifest, Metadata, Policy, Tree};
use runner::compare::{Fingerprint, Scope, compare};
use runner::files::checksums::{read_sidecar, verify_checksums};
use runner::files::extract::{Limits, extract};
use runner::progress::Progress;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::room::{number_of, room};

/// The set that a seed's metadata speak of.
const SET: &str = "system_backup_20251010_103000";
/// A second one, with the same metadata but for its name.
const TWIN: &str = "system_backup_20251011_103000";

/// What is accepted is written and read again as the same; a wrong value in any place, a huge number or a deep nest is an
/// error; nothing leads out of the set's folder or makes an archive hold something else.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(bytes) {
        reads_back(&manifest);
    }
    wrong_values_are_errors(bytes);
    set_stays_inside(bytes);
    archive_stays_as_it_is(bytes);
}

fn reads_back(manifest: &Manifest) {
    let text = manifest.to_text().expect("what was accepted can be written");
    let again = Manifest::parse(&text).expect("what was written can be read");
    assert_eq!(&again, manifest, "{}", String::from_utf8_lossy(&text));
    assert_eq!(manifest.is_masked(), !manifest.masked_columns().is_empty());
    assert!(manifest.members.iter().map(|member| member.length).sum::<u64>() <= manifest.size);
    weigh(&manifest.fingerprint);
}

/// A fingerprint is counted and compared before anything is known of the server.
fn weigh(print: &Fingerprint) {
    let most = print.tables.values().map(|table| table.rows).max().unwrap_or_default();
    assert!(print.rows() >= most, "the rows of all tables are fewer than those of one");
    for name in print.tables.keys() {
        assert!(print.table(name).is_some());
    }
    let verdict = compare(print, print, &Scope::default());
    assert!(verdict.is_err() || verdict.is_ok_and(|verdict| verdict.differences.is_empty()), "it differs from itself");
}

/// Plants wrong values in one place of what is JSON: it must be refused or read back, and never break anything.
fn wrong_values_are_errors(bytes: &[u8]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return };
    let place = number_of(bytes) % places(&value);
    *at(&mut value, &mut { place }).expect("there are as many places as were counted") = Value::from("@here@");
    let text = value.to_string();
    let deep = ["[".repeat(20_000), "{\"a\":".repeat(20_000)];
    let wrong =
        ["null", "-1", "1e400", "1.5", "18446744073709551615", "18446744073709551616", "\"\\u0000\"", "[]", "{}"];
    for planted in wrong.into_iter().chain(deep.iter().map(String::as_str)) {
        let text = text.replace("\"@here@\"", planted);
        if let Ok(manifest) = Manifest::parse(text.as_bytes()) {
            reads_back(&manifest);
        }
    }
}

fn places(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(places).sum(),
        Value::Object(values) => values.values().map(places).sum(),
        _ => 0usize,
    }
}

/// Finds a value by its place, counted from the outside.
fn at<'v>(value: &'v mut Value, place: &mut usize) -> Option<&'v mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(values) => values.iter_mut().find_map(|value| at(value, place)),
        Value::Object(values) => values.values_mut().find_map(|value| at(value, place)),
        _ => None,
    }
}

/// A set whose metadata, verdict, checksums and tree are these bytes.
fn set_stays_inside(bytes: &[u8]) {
    let room = room();
    let twin = String::from_utf8_lossy(bytes).replace(SET, TWIN).into_bytes();
    for (name, bytes) in [(SET, bytes), (TWIN, &twin)] {
        let folder = room.path().join(name);
        fs::create_dir_all(folder.join("docker_volumes")).expect("the folder is ours");
        for file in ["database.sql.gz", "docker_volumes/redis.tar.gz"] {
            fs::write(folder.join(file), "x").expect("the folder is ours");
        }
        for file in ["metadata.json", "verified.json", "checksums.txt", "docker_volumes.tree.json"] {
            fs::write(folder.join(file), bytes).expect("the folder is ours");
        }
    }
    let folder = room.path().join(SET);
    let now = Timestamp::from_second(1_800_000_000).expect("a moment of our time");
    let set = BackupSet::open(&folder, now).expect("what is wrong with a set is its standing");
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let _ = Tree::beside(&folder.join("docker_volumes"));
    let _ = read_sidecar(&folder.join("database.sql.gz"));
    if let Ok(found) = verify_checksums(&folder.join("checksums.txt"), &progress, &cancel) {
        assert!(found.files.iter().all(|file| stays(&file.path)), "it looks outside of its folder: {found:?}");
    }
    let catalog = Catalog::new(room.path());
    let stats = catalog.stats(now).expect("a list shows every set");
    assert_eq!(stats.sets + stats.bad, 2);
    assert!(stats.total_size >= set.size(), "two sets take less than one");
    let plan = catalog
        .plan(&Policy { daily: 7, weekly: 4, monthly: 12, yearly: 1, max_size: Some(1 << 30) }, now)
        .expect("a plan can be made");
    assert_eq!(plan.len(), 2);
    let Some(metadata) = &set.metadata else { return };
    for name in metadata.components.keys() {
        let path = set.path(name).expect("it was looked at when the set was opened");
        assert!(path.strip_prefix(&folder).is_ok_and(stays), "{name} leads to {}", path.display());
    }
    let _ = set.verify(&progress, &cancel);
    let text = serde_json::to_vec(metadata).expect("what was read can be written");
    fs::write(folder.join("metadata.json"), &text).expect("the folder is ours");
    let again = BackupSet::open(&folder, now).expect("what is wrong with a set is its standing");
    assert_eq!(again.standing, set.standing);
    let again = again.metadata.expect("it was readable before");
    assert!(is_same(&again, metadata), "it reads back as another one: {again:?} instead of {metadata:?}");
}

/// The sizes in MB are for people: of a fraction with many digits serde_json may read the last bit differently.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-12;
    let mut rest = one.clone();
    rest.total_size_mb = other.total_size_mb;
    let mut all_near = near(one.total_size_mb, other.total_size_mb);
    for (name, component) in &mut rest.components {
        if let Some(theirs) = other.components.get(name) {
            all_near &= near(component.size_mb, theirs.size_mb);
            component.size_mb = theirs.size_mb;
        }
    }
    all_near && rest == *other
}

fn stays(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// A good archive with these bytes as its inventory is extracted as it is, or refused.
fn archive_stays_as_it_is(bytes: &[u8]) {
    let room = room();
    let (path, into) = (room.path().join("a.tar"), room.path().join("into"));
    fs::write(&path, small_tar()).expect("the folder is ours");
    fs::write(room.path().join("a.tar.manifest.json"), bytes).expect("the folder is ours");
    match extract(&path, &into, &Limits::default(), &Progress::default(), &CancellationToken::new()) {
        Ok(extracted) => {
            assert!(extracted.verified, "an inventory was passed over");
            assert_eq!((extracted.entries, extracted.bytes), (2, 2));
            assert_eq!(fs::read(into.join("d/f")).expect("it was extracted"), b"hi");
        }
        Err(_) => assert!(!into.exists(), "something is left of an archive that was refused"),
    }
}

/// The archive that a seed's inventory speaks of: the same bytes wherever it is made.
fn small_tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content, kind) in [("d", "", tar::EntryType::Directory), ("d/f", "hi", tar::EntryType::Regular)] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).expect("memory takes everything");
    }
    tar.into_inner().expect("memory takes everything")
}
