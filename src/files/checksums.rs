//! Checksum files: what `sha256sum` writes and `sha256sum -c` accepts.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::atomic::{self, AtomicFile};
use super::digest::Digest;
use super::walk::{Entry, Kind as Found, walk};
use super::{go_on, open, open_no_link, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// The name of a folder's checksum file.
pub const CHECKSUM_FILE: &str = "checksums.txt";
/// The log of who touched the backups of a folder, which grows by itself.
pub const ACCESS_LOG: &str = "access.log";

/// Reads no longer line than this: a path has at most 4,096 bytes, escaped at most twice as many.
const LINE_LIMIT: u64 = 16 << 10;

/// What [`write_checksums`] did.
#[derive(Debug)]
pub struct Written {
    /// The checksum file.
    pub file: PathBuf,
    /// How many files it lists.
    pub files: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// What it does not list: links, pipes, files that are not whole yet.
    pub skipped: Vec<PathBuf>,
}

/// Writes `checksums.txt` into `folder`: the SHA-256 of every regular file in it, by path.
pub fn write_checksums(folder: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Written> {
    write_checksums_with(folder, &|_, _| None, progress, cancel)
}

/// Writes `checksums.txt` without reading the files whose digest is `known` from when they were written.
pub(crate) fn write_checksums_with(
    folder: &Path,
    known: &dyn Fn(&Path, &Metadata) -> Option<Digest>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Written> {
    let to = folder.join(CHECKSUM_FILE);
    let mut file = AtomicFile::replace(&to)?;
    // The system may spell the way to the unfinished list differently, but its name is random.
    let own = [to.file_name(), file.path().file_name()].map(|name| name.map(std::ffi::OsStr::to_owned));
    let mut written = Written { file: to.clone(), files: 0, bytes: 0, skipped: Vec::new() };
    walk(folder, &mut |entry: Entry<'_>| {
        let named = entry.path.file_name().map(std::ffi::OsStr::to_owned);
        let is_own = entry.path.parent() == Some(folder) && own.contains(&named);
        if is_own || entry.kind == Found::Folder {
            return Ok(true);
        }
        if entry.kind != Found::File || is_partial(entry.path) || is_access_log(folder, entry.path) {
            written.skipped.push(entry.path.to_owned());
            return Ok(true);
        }
        go_on(cancel, "writing checksums")?;
        let digest = match known(entry.relative, entry.facts) {
            Some(digest) => digest,
            None => Digest::of_file(entry.path, progress, cancel)?,
        };
        file.write_all(&line(digest, entry.relative)).map_err(|e| Error::io("write", &to, &e))?;
        written.files += 1;
        written.bytes += entry.facts.len();
        Ok(true)
    })?;
    file.commit()?;
    Ok(written)
}

/// Returns where the checksum of one file is kept: its name with `.sha256` behind it.
pub fn sidecar(path: &Path) -> PathBuf {
    super::with_suffix(path, ".sha256")
}

/// Writes `PATH.sha256` for one file whose digest is known; an old one is not replaced.
pub fn write_sidecar(path: &Path, digest: Digest) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::new(Kind::Usage, format!("{} has no name", shown(path))))?;
    let to = sidecar(path);
    let mut file = AtomicFile::create(&to)?;
    file.write_all(&line(digest, Path::new(name))).map_err(|e| Error::io("write", &to, &e))?;
    file.commit()
}

/// Reads the digest that `PATH.sha256` gives for one file.
pub fn read_sidecar(path: &Path) -> Result<Digest> {
    let list = sidecar(path);
    let mut lines = lines(&list)?;
    match (lines.pop(), lines.is_empty()) {
        (Some((name, digest)), true) if Some(name.as_os_str()) == path.file_name() => Ok(digest),
        _ => Err(Error::new(Kind::Damaged, format!("{} is not the checksum of {}", shown(&list), shown(path)))
            .on(shown(&list))
            .hint("it must hold one line: the SHA-256, two spaces and the file's name")),
    }
}

/// What became of one file since its checksum was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Its content is the same.
    Ok,
    /// It is not there.
    Missing,
    /// It has another content.
    Changed {
        /// Its digest now.
        found: Digest,
    },
    /// Something else about it is not as it was.
    Differs {
        /// What.
        why: String,
    },
    /// It could not be read, so nothing is known.
    Unreadable {
        /// Why.
        why: String,
    },
}

/// One line of a checksum file and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The path as the list gives it.
    pub path: PathBuf,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The verdict on a checksum file.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Every listed file, in the order of the list.
    pub files: Vec<Checked>,
    /// Files in the folder that the list does not name. Empty for a single file's `.sha256`.
    pub extra: Vec<PathBuf>,
}

impl Verification {
    /// Returns whether every listed file is there and unchanged. Extra files are no damage.
    pub fn intact(&self) -> bool {
        self.files.iter().all(|f| f.verdict == Verdict::Ok)
    }

    /// Returns the verdict in one line.
    pub fn summary(&self) -> String {
        let count = |what: fn(&Verdict) -> bool| self.files.iter().filter(|f| what(&f.verdict)).count();
        let mut text = format!("{} of {} files are unchanged", count(|v| *v == Verdict::Ok), self.files.len());
        let bad = [
            ("missing", count(|v| *v == Verdict::Missing)),
            ("changed", count(|v| matches!(v, Verdict::Changed { .. } | Verdict::Differs { .. }))),
            ("unreadable", count(|v| matches!(v, Verdict::Unreadable { .. }))),
            ("not listed", self.extra.len()),
        ];
        bad.iter().filter(|(_, n)| *n > 0).for_each(|(what, n)| text.push_str(&format!(", {n} {what}")));
        text
    }
}

/// Verifies every file that a checksum file lists; paths are relative to the folder it lies in.
///
/// # Errors
/// A list that names a path outside its folder is hostile and refused whole, and so is one that lists nothing:
/// a verification of nothing must not pass.
pub fn verify_checksums(list: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Verification> {
    let folder = list.parent().unwrap_or(Path::new(""));
    let wanted = lines(list)?;
    if wanted.is_empty() {
        return Err(Error::new(Kind::Damaged, format!("{} lists no file", shown(list))).on(shown(list)));
    }
    let mut files = Vec::with_capacity(wanted.len());
    for (path, expected) in wanted {
        let verdict = match digest_inside(folder, &path, progress, cancel) {
            Ok(found) if found == expected => Verdict::Ok,
            Ok(found) => Verdict::Changed { found },
            Err(e) if e.kind() == Kind::Interrupted => return Err(e),
            Err(e) if e.kind() == Kind::Missing => Verdict::Missing,
            Err(e) => Verdict::Unreadable { why: e.to_string() },
        };
        files.push(Checked { path, verdict });
    }
    let single = list.extension() == Some(OsStr::new("sha256"));
    let extra = if single { Vec::new() } else { extra(folder, list, &files)? };
    Ok(Verification { files, extra })
}

/// Digests `path` below `folder`, refusing every link on the way: a list must not make us read other files.
fn digest_inside(folder: &Path, path: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Digest> {
    let mut whole = folder.to_owned();
    for part in path.components() {
        whole.push(part);
        let facts = whole.symlink_metadata().map_err(|e| Error::io("read", &whole, &e))?;
        if facts.is_symlink() {
            return Err(Error::new(Kind::Refused, format!("{} is a symbolic link", shown(&whole))));
        }
    }
    let (file, _) = open_no_link(&whole)?;
    Digest::of_open(file, &whole, progress, cancel)
}

/// Returns whether a file is the folder's own access log, and not one that a server happens to call so.
fn is_access_log(folder: &Path, path: &Path) -> bool {
    let named = path.file_name().is_some_and(|name| name == ACCESS_LOG);
    let here = path
        .parent()
        .is_some_and(|parent| parent == folder || (folder.as_os_str().is_empty() && parent == Path::new(".")));
    let mut start = [0; 9];
    named
        && here
        && open_no_link(path)
            .is_ok_and(|(mut file, _)| file.read_exact(&mut start).is_ok() && start == *b"{\"time\":\"")
}

fn extra(folder: &Path, list: &Path, files: &[Checked]) -> Result<Vec<PathBuf>> {
    let listed: std::collections::HashSet<&Path> = files.iter().map(|f| f.path.as_path()).collect();
    let mut extra = Vec::new();
    walk(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }, &mut |entry: Entry<'_>| {
        let own = entry.path.file_name() == list.file_name() && entry.path.parent() == Some(folder);
        let own = own || (folder.as_os_str().is_empty() && Some(entry.relative.as_os_str()) == list.file_name());
        let own = own || is_access_log(folder, entry.path);
        if entry.kind != Found::Folder && !own && !listed.contains(entry.relative) {
            extra.push(entry.relative.to_owned());
        }
        Ok(true)
    })?;
    Ok(extra)
}

fn is_partial(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(atomic::PARTIAL_PREFIX.as_bytes()))
}

/// Returns the line of one file. As in coreutils, a leading backslash says that the name is escaped.
fn line(digest: Digest, path: &Path) -> Vec<u8> {
    let name = path.as_os_str().as_bytes();
    let escaped = name.iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r'));
    let mut line = if escaped { vec![b'\\'] } else { Vec::new() };
    line.extend_from_slice(digest.to_string().as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' if escaped => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

/// Reads a checksum file. Every line must be whole and harmless.
pub(crate) fn lines(list: &Path) -> Result<Vec<(PathBuf, Digest)>> {
    let (file, _) = open(list)?;
    let mut reader = BufReader::new(file);
    let mut found = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let n =
            reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(|e| Error::io("read", list, &e))?;
        if n == 0 {
            break;
        }
        let entry = parse(line.strip_suffix(b"\n").unwrap_or(&line)).and_then(|(path, digest)| {
            if is_inside(&path) { Ok((path, digest)) } else { Err("it names a path outside of its folder") }
        });
        found.push(entry.map_err(|why| {
            Error::new(Kind::Damaged, format!("line {number} of {} is not a checksum line: {why}", shown(list)))
                .on(shown(list))
        })?);
    }
    Ok(found)
}

fn parse(line: &[u8]) -> Result<(PathBuf, Digest), &'static str> {
    let (escaped, line) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, name) = line.split_at_checked(64).ok_or("it is too short")?;
    let digest = std::str::from_utf8(digest).map_err(|_| "it does not start with a SHA-256")?.parse()?;
    // The second character says text or binary, which is the same on Unix.
    let name =
        name.strip_prefix(b"  ").or_else(|| name.strip_prefix(b" *")).ok_or("two spaces must follow the SHA-256")?;
    let name = if escaped { unescape(name)? } else { name.to_vec() };
    Ok((PathBuf::from(std::ffi::OsString::from_vec(name)), digest))
}

fn unescape(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => return Err("a backslash in it means nothing"),
            },
            other => *other,
        });
    }
    Ok(plain)
}

fn is_inside(path: &Path) -> bool {
    path.components().next().is_some()
        && path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        && !path.as_os_str().as_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn write(folder: &Path) -> Written {
        write_checksums(folder, &Progress::default(), &CancellationToken::new()).unwrap()
    }

    fn verify(list: &Path) -> Result<Verification> {
        verify_checksums(list, &Progress::default(), &CancellationToken::new())
    }

    fn sha256sum(folder: &Path, list: &str) -> bool {
        Command::new("sha256sum")
            .args(["-c", "--strict", "--quiet", list])
            .current_dir(folder)
            .status()
            .unwrap()
            .success()
    }

    const ODD: [(&str, &str); 6] = [
        ("plain.txt", "1"),
        ("sub/deep/zwei Wörter ☂.gz", "2"),
        ("new\nline", "3"),
        ("back\\slash", "4"),
        (" leading and trailing ", "5"),
        ("-rf", ""),
    ];

    #[test]
    fn sha256sum_accepts_what_we_write_with_every_odd_name() {
        let folder = folder_with(&ODD);
        let written = write(folder.path());
        assert_eq!((written.files, written.bytes), (6, 5));
        assert!(sha256sum(folder.path(), CHECKSUM_FILE));
        let verified = verify(&written.file).unwrap();
        assert!(verified.intact() && verified.extra.is_empty(), "{verified:?}");
        assert_eq!(verified.summary(), "6 of 6 files are unchanged");
    }

    #[test]
    fn we_accept_what_sha256sum_writes() {
        let folder = folder_with(&ODD);
        let list = "sha256sum -b -- * sub/deep/* 2>/dev/null > ../$(basename \"$PWD\").list; mv ../$(basename \"$PWD\").list sums";
        Command::new("sh").args(["-c", list]).current_dir(folder.path()).status().unwrap();
        let verified = verify(&folder.path().join("sums")).unwrap();
        assert!(verified.intact() && verified.files.len() == 6, "{verified:?}");
    }

    #[test]
    fn a_changed_a_missing_and_an_extra_file_are_named() {
        let folder = folder_with(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let list = write(folder.path()).file;
        std::fs::write(folder.path().join("a"), "x").unwrap();
        std::fs::remove_file(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("new"), "x").unwrap();
        let verified = verify(&list).unwrap();
        assert!(!verified.intact());
        assert_eq!(verified.summary(), "1 of 3 files are unchanged, 1 missing, 1 changed, 1 not listed");
        assert_eq!(verified.files[0].verdict, Verdict::Changed { found: Digest::of(b"x") });
        assert_eq!(verified.extra, [Path::new("new")]);
    }

    #[test]
    fn a_list_that_names_paths_outside_is_refused() {
        for name in ["/etc/passwd", "../x", "a/../../x", ""] {
            let folder = folder_with(&[]);
            let list = folder.path().join("sums");
            std::fs::write(&list, format!("{}  {name}\n", Digest::of(b""))).unwrap();
            assert_eq!(verify(&list).unwrap_err().kind(), Kind::Damaged, "{name}");
        }
    }

    #[test]
    fn a_link_that_leads_out_is_not_followed() {
        let outside = folder_with(&[("secret", "s")]);
        let folder = folder_with(&[]);
        std::os::unix::fs::symlink(outside.path(), folder.path().join("l")).unwrap();
        assert_eq!(write(folder.path()).skipped.len(), 1);
        let list = folder.path().join("sums");
        std::fs::write(&list, format!("{}  l/secret\n", Digest::of(b"s"))).unwrap();
        let verified = verify(&list).unwrap();
        assert!(matches!(verified.files[0].verdict, Verdict::Unreadable { .. }), "{verified:?}");
    }

    #[test]
    fn an_empty_or_broken_list_proves_nothing() {
        let folder = folder_with(&[("empty", ""), ("words", "not a checksum\n")]);
        assert_eq!(verify(&folder.path().join("empty")).unwrap_err().kind(), Kind::Damaged);
        let error = verify(&folder.path().join("words")).unwrap_err();
        assert!(error.to_string().starts_with("line 1 of "), "{error}");
    }

    #[test]
    fn one_files_checksum_is_read_back_and_belongs_to_that_file() {
        let folder = folder_with(&[("d.sql.gz", "data"), ("e.sql.gz", "data")]);
        let path = folder.path().join("d.sql.gz");
        write_sidecar(&path, Digest::of(b"data")).unwrap();
        assert!(sha256sum(folder.path(), "d.sql.gz.sha256"));
        assert_eq!(read_sidecar(&path).unwrap(), Digest::of(b"data"));
        let other = folder.path().join("e.sql.gz");
        std::fs::copy(sidecar(&path), sidecar(&other)).unwrap();
        assert_eq!(read_sidecar(&other).unwrap_err().kind(), Kind::Damaged);
        assert!(verify(&sidecar(&path)).unwrap().extra.is_empty());
    }
}
