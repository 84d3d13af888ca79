//! What holds for every archive that is listed, extracted or put back.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use runner::error::Result;
use runner::files::extract::{Extracted, Limits, extract, extract_over};
use runner::files::glob::Glob;
use runner::files::merge::Merged;
use runner::files::read_archived::read_archived;
use runner::files::tar_stream::{self, Tree};
use runner::progress::Progress;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::drip::Drip;
use super::room::{number_of, room};

const BLOCK: usize = 512;

/// Whatever an archive says, nothing is written outside of its folder and nothing stays of one that is refused; what is
/// accepted holds what another reader finds in it, and a packed one with a byte changed is refused or the same.
pub(crate) fn archive(bytes: &[u8]) {
    judge(bytes);
    let packed = bytes.starts_with(&[0x1f, 0x8b]);
    if !packed {
        // Random changes break the sums of headers first; mended, the rest of them is read as well.
        let mended = mended(bytes);
        if mended != bytes {
            judge(&mended);
        }
        changed_when_packed(&mended);
    }
}

/// One archive in a folder beside others that it must not touch.
fn judge(bytes: &[u8]) {
    let room = room();
    let path = room.path().join("in.tar");
    fs::write(&path, bytes).expect("the folder is ours");
    fs::create_dir(room.path().join("beside")).expect("the folder is ours");
    fs::write(room.path().join("beside/file"), "untouched").expect("the folder is ours");
    let (strict, loose) = (room.path().join("strict"), room.path().join("loose"));
    let taken = unpack(&path, &strict, &limits());
    let lenient = unpack(&path, &loose, &Limits { outward_links: true, twins: true, ..limits() });
    assert!(taken.is_err() || lenient.is_ok(), "what the strict limits take, loose ones refuse: {lenient:?}");
    if let Ok(extracted) = &taken {
        holds_what_it_says(extracted, &strict);
        links_stay(&strict);
        agrees_with_another_reader(bytes, &strict);
        merges_into_itself(&path, &strict);
    }
    if let Ok(extracted) = &lenient {
        holds_what_it_says(extracted, &loose);
    }
    let text = read_archived(&path, &any(), &Progress::default(), &CancellationToken::new());
    if let (Ok(text), Ok(extracted)) = (&text, &lenient) {
        assert_eq!(text.len() as u64, extracted.bytes, "the only file has another size");
    }
    streams(bytes, &taken);
    let expected = [("beside", true), ("in.tar", true), ("loose", lenient.is_ok()), ("strict", taken.is_ok())];
    let expected: Vec<_> = expected.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names(room.path()), expected, "something is left beside");
    assert_eq!(names(&room.path().join("beside")), ["file"]);
    assert_eq!(fs::read(room.path().join("beside/file")).ok().as_deref(), Some(&b"untouched"[..]));
    assert_eq!(fs::read(&path).ok().as_deref(), Some(bytes), "the archive itself was changed");
    [strict, loose].iter().for_each(|folder| open_up(folder));
}

fn limits() -> Limits {
    Limits { bytes: 32 << 20, entries: 1_000, ..Limits::default() }
}

fn any() -> Glob {
    Glob::new("**").expect("a pattern")
}

fn unpack(path: &Path, into: &Path, limits: &Limits) -> Result<Extracted> {
    extract(path, into, limits, &Progress::default(), &CancellationToken::new())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("it can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Lets everybody's folders be removed, whatever modes the archive gave them.
fn open_up(folder: &Path) {
    if folder.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        fs::read_dir(folder).expect("it was opened").for_each(|entry| open_up(&entry.expect("it can be read").path()));
    }
}

/// Everything in a folder by its path. Folders are opened on the way, so it can be called once.
fn all(folder: &Path) -> BTreeMap<PathBuf, fs::Metadata> {
    let (mut waiting, mut found) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(path) = waiting.pop() {
        let facts = path.symlink_metadata().expect("it is there");
        if facts.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
            waiting.extend(fs::read_dir(&path).expect("it was opened").map(|e| e.expect("it can be read").path()));
        }
        found.insert(path, facts);
    }
    found
}

fn holds_what_it_says(extracted: &Extracted, folder: &Path) {
    assert_eq!(extracted.folder, folder);
    let found = all(folder);
    let (mut bytes, mut inodes) = (0, HashSet::new());
    for (path, facts) in &found {
        assert!(facts.is_file() || facts.is_dir() || facts.is_symlink(), "{} is something else", path.display());
        assert!(facts.is_symlink() || facts.mode() & 0o7000 == 0, "{} has special bits", path.display());
        if facts.is_file() && inodes.insert(facts.ino()) {
            bytes += facts.len();
        }
        assert!(!facts.is_file() || facts.nlink() as usize <= found.len(), "a file of others was linked");
    }
    assert_eq!(bytes, extracted.bytes, "the files hold other bytes than it says");
    // Folders above an entry need no entry of their own.
    assert!(extracted.entries < found.len() as u64, "{} entries made {}", extracted.entries, found.len() - 1);
}

fn links_stay(folder: &Path) {
    let real = folder.canonicalize().expect("it is there");
    for path in all(folder).into_iter().filter(|(_, facts)| facts.is_symlink()).map(|(path, _)| path) {
        if let Ok(end) = path.canonicalize() {
            assert!(end.starts_with(&real), "{} leads to {}", path.display(), end.display());
        }
    }
}

/// The tar crate's own reader sees the same files of the same sizes. Where it cannot read at all it says nothing.
fn agrees_with_another_reader(bytes: &[u8], folder: &Path) {
    let mut plain = Vec::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).map(drop).expect("it was unpacked"),
        false => plain.extend_from_slice(bytes),
    }
    let mut tar = tar::Archive::new(plain.as_slice());
    let mut other = BTreeMap::new();
    let Ok(entries) = tar.entries() else { return };
    for entry in entries {
        let Ok(mut entry) = entry else { return };
        // It splits records at line ends, of which a name may hold some: then it knows no more what they say.
        let records = entry.pax_extensions().ok().flatten();
        if records.is_some_and(|mut records| records.any(|record| record.is_err())) {
            return;
        }
        // It takes only one of the zeros off a long name's end.
        let name = entry.path_bytes().into_owned();
        let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let path = folder.join(OsStr::from_bytes(&name[..end]));
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            return;
        }
        // `a/.` is `a` for whoever makes the file.
        let path: PathBuf = path.components().collect();
        if entry.header().entry_type().is_file() {
            other.insert(path, content);
        }
    }
    for (path, facts) in all(folder).into_iter().filter(|(_, facts)| facts.is_file() && facts.nlink() == 1) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        let content = fs::read(&path).expect("it was opened");
        assert_eq!(content.len() as u64, facts.len());
        assert_eq!(other.remove(&path).as_ref(), Some(&content), "another reader sees another {}", path.display());
    }
    let linked = other.keys().filter(|path| !path.symlink_metadata().is_ok_and(|facts| facts.nlink() > 1));
    assert_eq!(linked.collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "another reader sees more files");
}

/// An archive over its own content replaces nothing but what other checks here gave other permissions.
fn merges_into_itself(path: &Path, folder: &Path) {
    let fresh = folder.with_file_name("merged");
    let over = || extract_over(path, &fresh, None, &limits(), &Progress::default(), &CancellationToken::new());
    let (first, merged) = over().expect("what was extracted once is extracted again");
    assert_eq!(merged, Merged::default());
    if fresh.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let (again, merged) = over().expect("nothing of it has to make room");
        assert_eq!((again, merged.replaced), (first, 0));
    }
    open_up(&fresh);
    fs::remove_dir_all(&fresh).expect("the folder is ours");
}

/// As a stream of a volume: read alike however it arrives, packed and sent back byte for byte.
fn streams(bytes: &[u8], taken: &Result<Extracted>) {
    let (cancel, progress, name) = (CancellationToken::new(), Progress::default(), Path::new("stream"));
    let survey = |step| tar_stream::survey(Drip::new(bytes, step), "", name, &cancel);
    let whole = survey(usize::MAX);
    assert_eq!(survey(7).ok(), whole.as_ref().ok().cloned(), "reads of seven bytes change what is seen");
    let Ok(tree) = whole else {
        let plain = !bytes.starts_with(&[0x1f, 0x8b]);
        assert!(!plain || taken.is_err(), "what is extracted cannot be surveyed: {whole:?}");
        return;
    };
    if let Ok(extracted) = taken {
        assert_eq!(tree.bytes, extracted.bytes);
    }
    let room = room();
    let to = room.path().join("v.tar.gz");
    let (_, packed) = tar_stream::pack(bytes, "", &to, |_| Value::Null, &cancel).expect("what was surveyed is packed");
    assert_eq!(packed, tree);
    let checked = tar_stream::check(&to, "", &progress, &cancel).expect("what was packed is whole");
    assert_eq!(checked.tree, tree);
    let mut sent = Vec::new();
    let take = |block: &[u8]| {
        sent.extend_from_slice(block);
        Ok(())
    };
    checked.send(&progress, &cancel, take).expect("it did not change");
    assert_eq!(sent, bytes, "other bytes come back than went in");
    changed_in_place(&to, &tree);
}

/// With a byte changed the checksum shows it; without any list it is refused or the same.
fn changed_in_place(to: &Path, tree: &Tree) {
    let (cancel, progress) = (CancellationToken::new(), Progress::default());
    let mut bytes = fs::read(to).expect("it was written");
    let at = number_of(&bytes) % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    fs::write(to, &bytes).expect("the folder is ours");
    let lists = ["v.tar.gz.sha256", "v.tar.gz.manifest.json"].map(|list| to.with_file_name(list));
    for left in [2, 1] {
        let seen = tar_stream::check(to, "", &progress, &cancel);
        assert!(seen.is_err(), "a changed byte at {at} is not seen with {left} lists");
        fs::remove_file(&lists[2 - left]).expect("it was written");
    }
    let seen = tar_stream::check(to, "", &progress, &cancel);
    assert!(seen.is_err() || seen.is_ok_and(|seen| seen.tree == *tree), "a changed byte at {at} makes another tree");
}

/// The same archive in gzip with a byte changed extracts to the same or to nothing.
fn changed_when_packed(tar: &[u8]) {
    let room = room();
    let path = room.path().join("in.tar.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut packed = gzip.write_all(tar).and_then(|()| gzip.finish()).expect("memory takes everything");
    let at = number_of(&packed) % packed.len();
    packed[at] ^= 1 << (at % 8);
    fs::write(&path, &packed).expect("the folder is ours");
    let into = room.path().join("into");
    if let Ok(extracted) = unpack(&path, &into, &limits()) {
        let plain = room.path().join("plain");
        fs::write(&path, tar).expect("the folder is ours");
        let expected = unpack(&path, &plain, &limits()).expect("it was taken with a byte changed");
        assert_eq!((extracted.bytes, extracted.entries), (expected.bytes, expected.entries));
        [into, plain].iter().for_each(|folder| open_up(folder));
    } else {
        assert!(!into.exists(), "something is left of an archive that was refused");
    }
}

/// Gives every header the sum that it should have, and the archive an end.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while at + BLOCK <= tar.len() && tar[at..at + BLOCK].iter().any(|byte| *byte != 0) {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&tar[at..at + BLOCK]);
        header.set_cksum();
        tar[at..at + BLOCK].copy_from_slice(header.as_bytes());
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        at = size.checked_next_multiple_of(BLOCK).and_then(|size| (at + BLOCK).checked_add(size)).unwrap_or(tar.len());
    }
    if tar.len() < at {
        tar.resize(at.min(64 << 10).max(tar.len()), 0);
    }
    if tar.len() < 2 * BLOCK || tar[tar.len() - 2 * BLOCK..].iter().any(|byte| *byte != 0) {
        tar.resize(tar.len() + 2 * BLOCK, 0);
    }
    tar
}
