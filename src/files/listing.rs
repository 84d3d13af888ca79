//! The everyday file verbs: list, read, write, copy, rename, remove. None follows a link out, none leaves half a file.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::atomic::{self, AtomicFile};
use super::digest::{Digest, Hasher};
use super::glob::Glob;
use super::holes::Holes;
use super::walk::{Entry, Kind as Found, walk};
use super::{BLOCK, go_on, open, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// A longer text is data: it belongs into a verb that streams.
const TEXT_LIMIT: u64 = 16 << 20;

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path, starting as the pattern does.
    pub path: PathBuf,
    /// How many bytes it holds.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Returns the regular files that `pattern` matches, sorted by path; a folder's name stands for the files in it.
///
/// Below the folder where the pattern starts symbolic links are neither listed nor entered, so a listing never leaves it.
pub fn list_files(pattern: &str) -> Result<Vec<Listed>> {
    let (root, rest) = split(pattern);
    if !rest.is_empty() {
        return matching(&root, rest);
    }
    let facts = root.symlink_metadata().map_err(|e| Error::io("read", &root, &e))?;
    if facts.is_dir() {
        return matching(&root, "*");
    }
    Ok(if facts.is_file() { vec![listed(&root, &facts)?] } else { Vec::new() })
}

/// Splits a pattern into the folder before its first wildcard and the rest.
fn split(pattern: &str) -> (PathBuf, &str) {
    let wild = pattern.find(['*', '?', '[', '{', '\\']);
    let Some(wild) = wild else { return (PathBuf::from(pattern), "") };
    match pattern[..wild].rfind('/') {
        Some(0) => (PathBuf::from("/"), &pattern[1..]),
        Some(slash) => (PathBuf::from(&pattern[..slash]), &pattern[slash + 1..]),
        None => (PathBuf::new(), pattern),
    }
}

fn matching(root: &Path, rest: &str) -> Result<Vec<Listed>> {
    let glob = Glob::new(rest)?;
    let mut files = BTreeMap::new();
    let start = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    walk(start, &mut |entry: Entry<'_>| {
        if entry.kind == Found::File && glob.matches(entry.relative) {
            let path = root.join(entry.relative);
            files.insert(path.clone(), listed(&path, entry.facts)?);
        }
        Ok(glob.may_match_below(entry.relative))
    })?;
    Ok(files.into_values().collect())
}

fn listed(path: &Path, facts: &std::fs::Metadata) -> Result<Listed> {
    let modified = facts.modified().map_err(|e| Error::io("read", path, &e))?;
    Ok(Listed { path: path.to_owned(), size: facts.len(), modified })
}

/// Returns whether something is there. When that cannot be told it is an error, not a no.
pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| Error::io("look for", path, &e))
}

/// Refuses a path at which there is no folder.
pub fn folder(path: &Path) -> Result<()> {
    let facts = path.metadata().map_err(|e| Error::io("read", path, &e))?;
    if facts.is_dir() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("{} is not a folder", shown(path))).on(shown(path)))
}

/// Returns how many bytes the file holds.
pub fn size(path: &Path) -> Result<u64> {
    Ok(open(path)?.1.len())
}

/// Returns the text of a file of at most 16 MiB.
pub fn read_text(path: &Path) -> Result<String> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, &e))?;
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(Error::new(Kind::Refused, format!("{} is larger than 16 MiB", shown(path)))
            .on(shown(path))
            .hint("read_text is for small texts; use checksum, copy or archive on large files"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::new(Kind::Damaged, format!("{} is not UTF-8 text: byte {at} is wrong", shown(path))).on(shown(path))
    })
}

/// Writes a text in the place of an old one; nobody ever sees half of it.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic::write(path, text.as_bytes())
}

/// Copies a file to a name that is free and returns how many bytes it holds, and their digest.
///
/// The owner's permissions and the time stay; what group and others may do does not: a copy of a backup is as private
/// as the backup should have been.
pub fn copy(from: &Path, to: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<(u64, Digest)> {
    let (mut source, facts) = open(from)?;
    let to = if to.is_dir() { to.join(from.file_name().unwrap_or_default()) } else { to.to_owned() };
    let target = AtomicFile::create(&to)?;
    let mut file = Holes::new(target.file()?);
    let (mut block, mut hasher) = (vec![0; BLOCK], Hasher::default());
    loop {
        go_on(cancel, &format!("copying {}", shown(from)))?;
        let n = match source.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", from, &e)),
        };
        hasher.update(&block[..n]);
        file.write(&block[..n]).map_err(|e| Error::io("write", &to, &e))?;
        progress.add(n as u64);
    }
    if hasher.bytes() != facts.len() {
        return Err(Error::new(Kind::Io, format!("{} changed its size while it was copied", shown(from)))
            .on(shown(from))
            .retryable());
    }
    let file = file.finish().map_err(|e| Error::io("write", &to, &e))?;
    let mode = 0o600 | (facts.permissions().mode() & 0o100);
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(|e| Error::io("write", &to, &e))?;
    let modified = facts.modified().map_err(|e| Error::io("read", from, &e))?;
    file.set_modified(modified).map_err(|e| Error::io("write", &to, &e))?;
    target.commit()?;
    Ok((hasher.bytes(), hasher.finish()))
}

/// Removes a file, a link (never its target) or a folder, and returns whether there was one.
///
/// A folder must be empty unless `whole` says to remove what is in it. `/`, the home and work folders and what is above
/// them, and everything that is or holds a mount point stay.
pub fn remove(path: &Path, whole: bool) -> Result<bool> {
    let facts = match path.symlink_metadata() {
        Ok(facts) => facts,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("remove", path, &e)),
    };
    if !facts.is_dir() {
        std::fs::remove_file(path).map_err(|e| Error::io("remove", path, &e))?;
        return Ok(true);
    }
    may_go(path)?;
    let removed = if whole { std::fs::remove_dir_all(path) } else { std::fs::remove_dir(path) };
    removed.map_err(|e| {
        let full = e.kind() == io::ErrorKind::DirectoryNotEmpty;
        let error = Error::io("remove", path, &e);
        if full { error.hint("the folder is not empty; say so when all that is in it may go") } else { error }
    })?;
    Ok(true)
}

/// Gives a file, a link or a folder a name that is free, at once or not at all.
///
/// # Errors
/// `Refused` when the name is taken, when it lies on another disk, and for what [`remove`] would not remove.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let facts = from.symlink_metadata().map_err(|e| Error::io("rename", from, &e))?;
    if facts.is_dir() {
        may_go(from)?;
    }
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    atomic::create_folder(parent)?;
    let old = from.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A plain rename would replace a file, or an empty folder, that has the name.
    let flags = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
    let renamed = nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, from, nix::fcntl::AT_FDCWD, to, flags);
    renamed.map_err(|errno| match errno {
        nix::errno::Errno::EEXIST => {
            Error::new(Kind::Refused, format!("{} exists already", shown(to))).on(shown(to)).hint("choose another name")
        }
        nix::errno::Errno::EXDEV => {
            Error::new(Kind::Refused, format!("{} and {} lie on two disks", shown(from), shown(to)))
                .on(shown(to))
                .hint("choose a name on the same disk, or copy it")
        }
        other => Error::io("rename", from, &other.into()),
    })?;
    atomic::sync_folder(parent)?;
    atomic::sync_folder(old)
}

/// Refuses folders that hold more than a script can mean.
pub(crate) fn may_go(path: &Path) -> Result<()> {
    let refused = |why: &str| {
        let name = shown(path);
        Err(Error::new(Kind::Refused, format!("{name} is not removed: {why}")).on(name))
    };
    // `a/..` and `.` say something else than they seem to.
    if matches!(path.components().next_back(), Some(Component::ParentDir | Component::CurDir) | None) {
        return refused("write the folder's own name");
    }
    let real = path.canonicalize().map_err(|e| Error::io("remove", path, &e))?;
    if real.parent().is_none() {
        return refused("it is the root of the file system");
    }
    let home = std::env::var_os("HOME").and_then(|home| Path::new(&home).canonicalize().ok());
    if home.is_some_and(|home| home.starts_with(&real)) {
        return refused("it is or holds the home folder");
    }
    let work = std::env::current_dir().map_err(|e| Error::io("read", Path::new("."), &e))?;
    if work.starts_with(&real) {
        return refused("it is or holds the work folder");
    }
    if real.components().count() == 2 {
        return refused("it lies directly below /");
    }
    match mounts()?.iter().find(|mount| mount.starts_with(&real)) {
        Some(mount) if *mount == real => refused("it is a mount point"),
        Some(mount) => refused(&format!("{} is mounted in it", shown(mount))),
        None => Ok(()),
    }
}

/// Returns every mount point of this process.
fn mounts() -> Result<Vec<PathBuf>> {
    let table = Path::new("/proc/self/mountinfo");
    let text = match std::fs::read_to_string(table) {
        Ok(text) => text,
        // Where there is no such table, a mount point still cannot be removed: the system says no to its last step.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", table, &e)),
    };
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescaped(path))).collect())
}

/// The kernel writes spaces, tabs, new lines and backslashes as octal numbers.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder_with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    fn names(folder: &Path, pattern: &str) -> Vec<String> {
        let found = list_files(&format!("{}/{pattern}", folder.display())).unwrap();
        found.iter().map(|f| f.path.strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_new_name_must_be_free_and_folders_that_hold_us_keep_theirs() {
        let folder = folder_with(&["old/a", "taken"]);
        let path = |name: &str| folder.path().join(name);
        assert_eq!(rename(&path("old"), &path("taken")).unwrap_err().kind(), Kind::Refused);
        assert!(path("old/a").exists() && path("taken").is_file());
        rename(&path("old"), &path("new/deep")).unwrap();
        assert!(path("new/deep/a").exists() && !path("old").exists());
        assert_eq!(rename(&path("absent"), &path("x")).unwrap_err().kind(), Kind::Missing);
        assert_eq!(rename(Path::new("."), &path("x")).unwrap_err().kind(), Kind::Refused);
        if Path::new("/dev/shm").is_dir() {
            let other = tempfile::tempdir_in("/dev/shm").unwrap();
            let refused = rename(&path("taken"), &other.path().join("x")).unwrap_err();
            assert!(refused.to_string().contains("two disks"), "{refused}");
        }
    }

    #[test]
    fn a_listing_is_sorted_and_stays_inside() {
        let outside = folder_with(&["o.gz"]);
        let folder = folder_with(&["b.gz", "a.gz", "sub/c.gz", "a.txt", ".hidden.gz"]);
        symlink(outside.path(), folder.path().join("link")).unwrap();
        symlink(outside.path().join("o.gz"), folder.path().join("z.gz")).unwrap();
        assert_eq!(names(folder.path(), "*.gz"), ["a.gz", "b.gz"]);
        assert_eq!(names(folder.path(), "**/*.gz"), ["a.gz", "b.gz", "sub/c.gz"]);
        assert_eq!(names(folder.path(), "sub"), ["sub/c.gz"]);
        assert_eq!(names(folder.path(), "link/*"), ["link/o.gz"], "a link that the operator names is meant");
        let all = list_files(folder.path().to_str().unwrap()).unwrap();
        assert_eq!((all.len(), all[0].size), (3, 4));
    }

    #[test]
    fn a_listing_of_a_folder_that_is_not_there_is_an_error() {
        assert_eq!(list_files("/nowhere/at/all/*.gz").unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn texts_are_read_whole_or_not_at_all() {
        let folder = folder_with(&[]);
        let path = folder.path().join("t");
        write_text(&path, "grün").unwrap();
        assert_eq!((read_text(&path).unwrap().as_str(), size(&path).unwrap()), ("grün", 5));
        std::fs::write(&path, b"ab\xff").unwrap();
        assert!(read_text(&path).unwrap_err().to_string().ends_with("byte 2 is wrong"));
        std::fs::File::create(&path).unwrap().set_len(TEXT_LIMIT + 1).unwrap();
        assert_eq!(read_text(&path).unwrap_err().kind(), Kind::Refused);
        assert!(exists(&path).unwrap() && !exists(&folder.path().join("u")).unwrap());
        assert!(exists(&path.join("below a file")).is_err());
    }

    #[test]
    fn a_copy_is_whole_private_and_as_old_as_the_original() {
        let folder = folder_with(&["run.sh"]);
        let (from, to) = (folder.path().join("run.sh"), folder.path().join("copy"));
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o6755)).unwrap();
        let go = CancellationToken::new();
        assert_eq!(copy(&from, &to, &Progress::default(), &go).unwrap(), (6, Digest::of(b"run.sh")));
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(to.metadata().unwrap().modified().unwrap(), from.metadata().unwrap().modified().unwrap());
        assert_eq!(copy(&from, &to, &Progress::default(), &go).unwrap_err().kind(), Kind::Refused);
        go.cancel();
        assert!(copy(&from, &folder.path().join("c2"), &Progress::default(), &go).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_what_was_meant_is_removed() {
        let folder = folder_with(&["full/a", "file"]);
        let path = |name: &str| folder.path().join(name);
        symlink(path("full"), path("link")).unwrap();
        assert!(remove(&path("link"), true).unwrap() && path("full/a").exists());
        assert!(remove(&path("full"), false).unwrap_err().next_step().is_some());
        assert!(remove(&path("full"), true).unwrap() && !path("full").exists());
        assert!(remove(&path("file"), false).unwrap());
        assert!(!remove(&path("file"), false).unwrap());
    }

    #[test]
    fn the_root_the_home_and_mounts_stay() {
        let home = std::env::var("HOME").unwrap();
        let work = std::env::current_dir().unwrap();
        for path in ["/", "/etc", "/proc/", "/dev/shm", "..", ".", "/etc/..", &home, work.to_str().unwrap()] {
            let error = remove(Path::new(path), false).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{path}");
        }
    }
}
