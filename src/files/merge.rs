//! Merging: a finished folder's entries take their places in a folder that holds others, all of them or none.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::atomic::create_folder;
use super::digest::Digest;
use super::walk::{Entry, Kind as Found, walk};
use super::{go_on, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// How many names an error lists.
const NAMED: usize = 5;

/// What [`merge`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many entries made room for another one.
    pub replaced: u64,
    /// How many were there already, with the same content and permissions.
    pub same: u64,
}

/// One entry on its way: where it is, where it goes, and what it replaces.
struct Move {
    relative: PathBuf,
    replaces: bool,
}

/// Moves every entry of `fresh` into `into`, which lies on the same disk. What is there with another content, kind or
/// permissions makes room: it goes below `kept`. Folders that are on both sides stay and keep their permissions.
///
/// # Errors
/// `Refused`, before anything is touched, when something would have to make room and no `kept` was given. When a move
/// fails the earlier ones are taken back.
pub(crate) fn merge(fresh: &Path, into: &Path, kept: Option<&Path>, cancel: &CancellationToken) -> Result<Merged> {
    let (moves, same) = plan(fresh, into, cancel)?;
    let replaced: Vec<_> = moves.iter().filter(|m| m.replaces).map(|m| shown(&m.relative)).collect();
    let Some(kept) = kept.or(replaced.is_empty().then_some(into)) else {
        let (named, more) = (replaced.iter().take(NAMED).cloned().collect::<Vec<_>>(), replaced.len() > NAMED);
        let more = if more { format!(" and {} more", replaced.len() - NAMED) } else { String::new() };
        let what = format!("{} holds other files of these names: {}{more}", shown(into), named.join(", "));
        return Err(Error::new(Kind::Refused, what)
            .on(shown(into))
            .hint("nothing was touched; say replace to let them make room: they are kept beside the folder"));
    };
    let mut done: Vec<(PathBuf, PathBuf)> = Vec::new();
    for one in &moves {
        if let Err(error) = carry_out(one, fresh, into, kept, &mut done) {
            return Err(taken_back(error, &done));
        }
    }
    Ok(Merged { replaced: replaced.len() as u64, same })
}

/// Decides every move; touches nothing.
fn plan(fresh: &Path, into: &Path, cancel: &CancellationToken) -> Result<(Vec<Move>, u64)> {
    let (mut moves, mut same) = (Vec::new(), 0);
    walk(fresh, &mut |entry: Entry<'_>| {
        go_on(cancel, "putting files in place")?;
        let there = into.join(entry.relative);
        let move_it = |replaces| Move { relative: entry.relative.to_owned(), replaces };
        match there.symlink_metadata() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => moves.push(move_it(false)),
            Err(e) => return Err(Error::io("read", &there, &e)),
            Ok(facts) if facts.is_dir() && entry.kind == Found::Folder => return Ok(true),
            Ok(facts) if is_same(&entry, &there, &facts, cancel)? => same += 1,
            Ok(_) => moves.push(move_it(true)),
        }
        Ok(false)
    })?;
    Ok((moves, same))
}

fn is_same(entry: &Entry<'_>, there: &Path, facts: &std::fs::Metadata, cancel: &CancellationToken) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    if facts.is_symlink() && entry.kind == Found::Link {
        let target = |path: &Path| std::fs::read_link(path).map_err(|e| Error::io("read", path, &e));
        return Ok(target(entry.path)? == target(there)?);
    }
    let mode = |facts: &std::fs::Metadata| facts.permissions().mode() & 0o777;
    if !facts.is_file() || entry.kind != Found::File || facts.len() != entry.facts.len() {
        return Ok(false);
    }
    let digest = |path: &Path| Digest::of_file(path, &Progress::default(), cancel);
    Ok(mode(facts) == mode(entry.facts) && digest(entry.path)? == digest(there)?)
}

fn carry_out(one: &Move, fresh: &Path, into: &Path, kept: &Path, done: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    let there = into.join(&one.relative);
    if one.replaces {
        let aside = kept.join(&one.relative);
        create_folder(aside.parent().unwrap_or(kept))?;
        rename(&there, &aside)?;
        done.push((there.clone(), aside));
    }
    rename(&fresh.join(&one.relative), &there)?;
    done.push((fresh.join(&one.relative), there));
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Refused, format!("{} came up meanwhile", shown(to))).on(shown(to)));
    }
    std::fs::rename(from, to).map_err(|e| Error::io("name", to, &e))
}

/// Undoes the moves that were made, the last one first.
fn taken_back(error: Error, done: &[(PathBuf, PathBuf)]) -> Error {
    let failed = done.iter().rev().find_map(|(from, to)| std::fs::rename(to, from).err().map(|e| (to, e)));
    match failed {
        None => error,
        Some((path, e)) => error.hint(format!("{} could not be taken back: {e}", shown(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn text(folder: &Path, name: &str) -> String {
        std::fs::read_to_string(folder.join(name)).unwrap()
    }

    fn put(fresh: &Path, into: &Path, kept: Option<&Path>) -> Result<Merged> {
        merge(fresh, into, kept, &CancellationToken::new())
    }

    #[test]
    fn new_ones_come_equal_ones_stay_and_others_are_refused_or_kept() {
        let fresh = folder(&[(".env", "new"), ("api/config.py", "same"), ("api/new/deep", "x")]);
        let into = folder(&[(".env", "old"), ("api/config.py", "same"), ("api/own.py", "own")]);
        let refused = put(fresh.path(), into.path(), None).unwrap_err();
        assert!(refused.kind() == Kind::Refused && refused.to_string().contains(".env"), "{refused}");
        assert!(text(into.path(), ".env") == "old" && !into.path().join("api/new").exists());

        let kept = tempfile::tempdir().unwrap();
        let merged = put(fresh.path(), into.path(), Some(kept.path())).unwrap();
        assert_eq!(merged, Merged { replaced: 1, same: 1 });
        assert_eq!((text(into.path(), ".env"), text(kept.path(), ".env")), ("new".into(), "old".into()));
        assert_eq!((text(into.path(), "api/new/deep"), text(into.path(), "api/own.py")), ("x".into(), "own".into()));
    }

    #[test]
    fn permissions_count_and_a_link_is_never_followed() {
        let outside = folder(&[("config.py", "precious")]);
        let fresh = folder(&[("api/config.py", "new"), (".env", "same")]);
        let into = folder(&[(".env", "same")]);
        symlink(outside.path(), into.path().join("api")).unwrap();
        std::fs::set_permissions(into.path().join(".env"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let refused = put(fresh.path(), into.path(), None).unwrap_err().to_string();
        assert!(refused.contains(".env") && refused.contains("api"), "{refused}");
        let kept = tempfile::tempdir().unwrap();
        assert_eq!(put(fresh.path(), into.path(), Some(kept.path())).unwrap().replaced, 2);
        assert!(kept.path().join("api").is_symlink() && text(outside.path(), "config.py") == "precious");
        assert_eq!(text(into.path(), "api/config.py"), "new");
    }

    #[test]
    fn a_move_that_fails_takes_the_others_back() {
        let fresh = folder(&[("a", "new"), ("z", "new")]);
        let into = folder(&[("a", "old"), ("z", "old")]);
        // A file stands where the second one would be kept.
        let kept = folder(&[("z/in the way", "x")]);
        put(fresh.path(), into.path(), Some(kept.path())).unwrap_err();
        assert_eq!((text(into.path(), "a"), text(into.path(), "z")), ("old".into(), "old".into()));
        assert_eq!(text(fresh.path(), "a"), "new");
    }
}
