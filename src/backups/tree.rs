//! Folders as part of a backup set: copied file by file, private, with what a copy cannot hold written down beside it.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::set;
use crate::error::{Error, Kind, Result};
use crate::files::digest::Digest;
use crate::files::glob::Glob;
use crate::files::walk::{Entry, Kind as Found, walk};
use crate::files::{atomic, listing, safe_path, shown, with_suffix};
use crate::progress::Progress;

/// How the name of what is written beside a copied folder ends.
pub(super) const ENDING: &str = ".tree.json";

/// What is in a folder besides the bytes of its files. Paths are relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The permissions, octal, where they are not those of a private file or folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, String>,
    /// The symbolic links with their targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// The digests of the files, as they were read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, Digest>,
    /// What was left out, and why: an operator must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// Copies everything below `from` into the new folder `to`. Files become private (0600), folders too (0700); what they
/// were is in the result. Links that lead out of the folder, pipes and devices are left out and named.
pub fn copy_tree(
    from: &Path,
    to: &Path,
    exclude: &[Glob],
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Tree> {
    refuse_taken(to)?;
    let own = Beside::new(to)?;
    let tree = fill(from, &own.copy, exclude, progress, cancel)?;
    set::write_json(&with_suffix(to, ENDING), &tree)?;
    refuse_taken(to)?;
    std::fs::rename(&own.copy, to).map_err(|e| Error::io("name", to, &e))?;
    atomic::sync_folder(parent(to))?;
    Ok(tree)
}

/// A folder beside another, for what has no name yet; it goes with this value.
struct Beside {
    copy: PathBuf,
    _own: tempfile::TempDir,
}

impl Beside {
    fn new(to: &Path) -> Result<Self> {
        let parent = parent(to);
        atomic::create_folder(parent)?;
        let own = tempfile::Builder::new().prefix(atomic::partial_prefix()).tempdir_in(parent);
        let own = own.map_err(|e| Error::io("create a folder in", parent, &e))?;
        Ok(Self { copy: own.path().join("copy"), _own: own })
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn refuse_taken(to: &Path) -> Result<()> {
    if to.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{} exists already", shown(to))).on(shown(to)).hint("choose another name"))
}

fn fill(from: &Path, to: &Path, exclude: &[Glob], progress: &Progress, cancel: &CancellationToken) -> Result<Tree> {
    listing::folder(from)?;
    atomic::create_folder(to)?;
    let mut tree = Tree::default();
    walk(from, &mut |entry| {
        if cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, format!("copying {} was interrupted", shown(from))));
        }
        let by_name = |glob: &Glob| {
            let name = entry.relative.file_name().is_some_and(|name| glob.matches(Path::new(name)));
            glob.matches(entry.relative) || (glob.is_name() && name)
        };
        if exclude.iter().any(by_name) {
            return Ok(false);
        }
        tree.take(&entry, to, progress, cancel)?;
        Ok(true)
    })?;
    Ok(tree)
}

/// Puts a folder of a set back: copied beside, every file compared with its checksum (paths relative to `from`), with the
/// permissions it had, and only then given its name. Returns where the folder went whose place it took.
pub fn restore_tree(
    from: &Path,
    to: &Path,
    expected: &HashMap<PathBuf, Digest>,
    replaced: Option<&Path>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Tree> {
    let held = std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some());
    if held && replaced.is_none() {
        return Err(Error::new(Kind::Refused, format!("{} holds something", shown(to)))
            .on(shown(to))
            .hint("restore to another folder, or say replace: the old folder is kept beside it"));
    }
    let own = Beside::new(to)?;
    let copy = &own.copy;
    let mut tree = fill(from, copy, &[], progress, cancel)?;
    let found = digests(copy, cancel)?;
    if let Some(wrong) = found.iter().find(|(path, digest)| expected.get(*path) != Some(digest)) {
        return Err(Error::new(Kind::Damaged, format!("{} is not what its checksum says", shown(wrong.0)))
            .on(shown(&from.join(wrong.0)))
            .hint("restore from another backup set; this one cannot be trusted"));
    }
    if let Some(missing) = expected.keys().find(|path| !found.contains_key(*path)) {
        return Err(Error::new(Kind::Damaged, format!("{} is missing in the set", shown(missing)))
            .on(shown(&from.join(missing))));
    }
    if let Some(original) = Tree::beside(from)? {
        original.apply_modes(copy)?;
        tree = Tree { files: tree.files, bytes: tree.bytes, ..original };
    }
    swap(copy, to, replaced.filter(|_| held))?;
    atomic::sync_folder(parent(to))?;
    Ok(tree)
}

/// Gives the copy its name. What was there keeps its own until then, and gets it back when that fails.
fn swap(copy: &Path, to: &Path, replaced: Option<&Path>) -> Result<()> {
    let named = |e: std::io::Error| {
        Error::io("name", to, &e).hint("a mount point cannot be replaced: restore beside it and copy the files in")
    };
    let Some(replaced) = replaced else { return std::fs::rename(copy, to).map_err(named) };
    if replaced.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Refused, format!("{} exists already", shown(replaced))).on(shown(replaced)));
    }
    std::fs::rename(to, replaced).map_err(named)?;
    std::fs::rename(copy, to).map_err(|e| {
        let back = std::fs::rename(replaced, to);
        let error = named(e);
        if back.is_err() {
            error.hint(format!("the old folder is {}: give it its name back", shown(replaced)))
        } else {
            error
        }
    })
}

fn digests(folder: &Path, cancel: &CancellationToken) -> Result<HashMap<PathBuf, Digest>> {
    let mut found = HashMap::new();
    walk(folder, &mut |entry| {
        if entry.kind == Found::File {
            found.insert(entry.relative.to_owned(), Digest::of_file(entry.path, &Progress::default(), cancel)?);
        }
        Ok(true)
    })?;
    Ok(found)
}

impl Tree {
    /// Reads what was written beside a copied folder; a folder that came otherwise has none.
    pub fn beside(folder: &Path) -> Result<Option<Self>> {
        let path = with_suffix(folder, ENDING);
        if path.symlink_metadata().is_err() { Ok(None) } else { set::read_json(&path).map(Some) }
    }

    fn take(&mut self, entry: &Entry<'_>, to: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<()> {
        let Some(name) = entry.relative.to_str() else {
            return Err(Error::new(Kind::Refused, format!("the name {} is not UTF-8", shown(entry.path)))
                .on(shown(entry.path))
                .hint("rename the file, or archive the folder: archives keep such names"));
        };
        let copy = to.join(entry.relative);
        match entry.kind {
            Found::Folder => {
                atomic::create_folder(&copy)?;
                self.note_mode(name, entry, 0o700);
            }
            Found::File => {
                let (bytes, digest) = listing::copy(entry.path, &copy, progress, cancel)?;
                self.bytes += bytes;
                self.files += 1;
                self.sha256.insert(name.to_owned(), digest);
                self.note_mode(name, entry, 0o600);
            }
            Found::Link => self.link(name, entry, &copy)?,
            Found::Other => self.left_out.push(format!("{}: neither file nor folder nor link", shown(entry.relative))),
        }
        Ok(())
    }

    /// Special bits (setuid and the like) are not kept: a backup is no way to get them.
    fn note_mode(&mut self, name: &str, entry: &Entry<'_>, private: u32) {
        let mode = entry.facts.permissions().mode() & 0o777;
        if mode != private {
            self.modes.insert(name.to_owned(), format!("{mode:04o}"));
        }
    }

    fn link(&mut self, name: &str, entry: &Entry<'_>, copy: &Path) -> Result<()> {
        let target = std::fs::read_link(entry.path).map_err(|e| Error::io("read", entry.path, &e))?;
        match target.to_str().filter(|_| safe_path::link_stays(entry.relative, &target)) {
            Some(text) => {
                symlink(&target, copy).map_err(|e| Error::io("create", copy, &e))?;
                self.links.insert(name.to_owned(), text.to_owned());
            }
            None => self.left_out.push(format!("{}: a link that leads out of the folder", shown(entry.relative))),
        }
        Ok(())
    }

    /// Gives a copy the permissions that its original had, folders last and deepest first.
    pub fn apply_modes(&self, root: &Path) -> Result<()> {
        for (name, mode) in self.modes.iter().rev() {
            let path = inside(root, name)?;
            let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777);
            let mode = mode.ok_or_else(|| Error::new(Kind::Damaged, format!("the permissions of {name} are none")))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
                .map_err(|e| Error::io("set the permissions of", &path, &e))?;
        }
        Ok(())
    }

    /// Returns the links that are not what they were, each with what is wrong.
    pub fn changed_links(&self, root: &Path) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (name, target) in &self.links {
            let path = root.join(safe_path::inside(name.as_bytes()).map_err(|why| hostile(name, why))?);
            match std::fs::read_link(&path) {
                Ok(found) if found == Path::new(target) => {}
                Ok(found) => wrong.push(format!("{name} leads to {}", shown(&found))),
                Err(_) => wrong.push(format!("{name} is no link any more")),
            }
        }
        Ok(wrong)
    }
}

/// Returns a path below `root` that a set names; no link may lie at its end.
fn inside(root: &Path, name: &str) -> Result<PathBuf> {
    let path = root.join(safe_path::inside(name.as_bytes()).map_err(|why| hostile(name, why))?);
    let facts = path.symlink_metadata().map_err(|e| Error::io("read", &path, &e))?;
    if facts.is_symlink() {
        return Err(hostile(name, "it is a link"));
    }
    Ok(path)
}

fn hostile(name: &str, why: &str) -> Error {
    Error::new(Kind::Damaged, format!("the set names {name:?} as one of its files")).caused_by(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_links_and_empty_folders_survive_and_what_leads_out_is_named() {
        let work = tempfile::tempdir().unwrap();
        let (from, to, back) = (work.path().join("a"), work.path().join("b"), work.path().join("c"));
        std::fs::create_dir_all(from.join("sub/empty")).unwrap();
        std::fs::write(from.join("sub/run me.sh"), b"#!/bin/sh").unwrap();
        std::fs::set_permissions(from.join("sub/run me.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(from.join("x.pyc"), b"cache").unwrap();
        symlink("run me.sh", from.join("sub/link")).unwrap();
        symlink("/etc/passwd", from.join("out")).unwrap();
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let exclude = [Glob::new("*.pyc").unwrap()];
        let tree = copy_tree(&from, &to, &exclude, &progress, &cancel).unwrap();
        assert_eq!((tree.files, tree.bytes, tree.links.len(), tree.left_out.len()), (1, 9, 1, 1), "{tree:?}");
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(to.join("sub/run me.sh")) & 0o077, 0);
        assert!(to.join("sub/empty").is_dir() && !to.join("x.pyc").exists() && !to.join("out").is_symlink());
        copy_tree(&to, &back, &[], &progress, &cancel).unwrap();
        tree.apply_modes(&back).unwrap();
        assert_eq!(mode(back.join("sub/run me.sh")), 0o755);
        assert!(tree.changed_links(&back).unwrap().is_empty());
        std::fs::remove_file(back.join("sub/link")).unwrap();
        assert_eq!(tree.changed_links(&back).unwrap(), ["sub/link is no link any more"]);
    }

    #[test]
    fn a_set_cannot_make_us_change_what_is_not_its_own() {
        let work = tempfile::tempdir().unwrap();
        let forged = |name: &str| Tree { modes: [(name.to_owned(), "0777".to_owned())].into(), ..Tree::default() };
        for name in ["../x", "/etc/passwd", "a/../../x"] {
            assert_eq!(forged(name).apply_modes(work.path()).unwrap_err().kind(), Kind::Damaged, "{name}");
        }
    }
}
