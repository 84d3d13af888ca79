//! Holding a folder against the inventory of an archive: what was extracted or put back is still what was saved.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::checksums::{Checked, Verdict, Verification};
use super::digest::Digest;
use super::inventory::{Entry, EntryKind, Inventory, inventory_path};
use super::walk::walk;
use super::{go_on, open_no_link, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Holds what is in `folder` against the inventory beside `archive`: every entry's kind, and of files the content and
/// permissions. Entries that the inventory does not name are told as extra; that is no damage.
///
/// # Errors
/// `Missing` where there is no inventory, `Damaged` where it lists nothing: a check of nothing must not pass.
pub fn verify_files(
    archive: &Path,
    folder: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Verification> {
    let list = inventory_path(archive);
    let inventory = Inventory::beside(archive)?.ok_or_else(|| {
        Error::new(Kind::Missing, format!("there is no {}", shown(&list)))
            .on(shown(&list))
            .hint("archive writes it beside the archive; without it nothing tells what was saved")
    })?;
    let entries = inventory.listed();
    if entries.is_empty() {
        return Err(Error::new(Kind::Damaged, format!("{} lists no entry", shown(&list))).on(shown(&list)));
    }
    let mut files = Vec::with_capacity(entries.len());
    for entry in &entries {
        go_on(cancel, &format!("verifying {}", shown(folder)))?;
        let verdict = match look(folder, entry, progress, cancel) {
            Ok(verdict) => verdict,
            Err(e) if e.kind() == Kind::Interrupted => return Err(e),
            Err(e) if e.kind() == Kind::Missing => Verdict::Missing,
            Err(e) => Verdict::Unreadable { why: e.to_string() },
        };
        files.push(Checked { path: entry.path.0.clone(), verdict });
    }
    Ok(Verification { extra: extra(folder, &entries)?, files })
}

fn look(folder: &Path, entry: &Entry, progress: &Progress, cancel: &CancellationToken) -> Result<Verdict> {
    let path = folder.join(&entry.path.0);
    if entry.path.0.ancestors().skip(1).any(|p| !p.as_os_str().is_empty() && folder.join(p).is_symlink()) {
        return Ok(Verdict::Differs { why: "its path leads through a link".into() });
    }
    let facts = path.symlink_metadata().map_err(|e| Error::io("read", &path, &e))?;
    let kind = match (facts.is_dir(), facts.is_symlink(), facts.is_file()) {
        (true, ..) => Some(EntryKind::Folder),
        (_, true, _) => Some(EntryKind::Link),
        (_, _, true) if entry.kind == EntryKind::HardLink => Some(EntryKind::HardLink),
        (_, _, true) => Some(EntryKind::File),
        _ => None,
    };
    if kind != Some(entry.kind) {
        return Ok(Verdict::Differs { why: "it is of another kind".into() });
    }
    match entry.kind {
        EntryKind::Folder | EntryKind::HardLink => Ok(Verdict::Ok),
        EntryKind::Link => {
            let target = std::fs::read_link(&path).map_err(|e| Error::io("read", &path, &e))?;
            let same = entry.target.as_ref().is_some_and(|wanted| wanted.0 == target);
            Ok(if same { Verdict::Ok } else { Verdict::Differs { why: "it leads elsewhere".into() } })
        }
        EntryKind::File => file(&path, entry, progress, cancel),
    }
}

fn file(path: &Path, entry: &Entry, progress: &Progress, cancel: &CancellationToken) -> Result<Verdict> {
    let (_, facts) = open_no_link(path)?;
    let found = Digest::of_file(path, progress, cancel)?;
    if entry.sha256 != Some(found) {
        return Ok(Verdict::Changed { found });
    }
    let mode = format!("{:04o}", facts.permissions().mode() & 0o777);
    if mode == entry.mode {
        return Ok(Verdict::Ok);
    }
    Ok(Verdict::Differs { why: format!("its permissions are {mode}, they were {}", entry.mode) })
}

fn extra(folder: &Path, entries: &[Entry]) -> Result<Vec<PathBuf>> {
    let listed: std::collections::HashSet<&Path> = entries.iter().map(|e| e.path.0.as_path()).collect();
    let mut extra = Vec::new();
    walk(folder, &mut |entry| {
        let known = listed.contains(entry.relative);
        if !known {
            extra.push(entry.relative.to_owned());
        }
        // Of a folder that is not listed its name says enough.
        Ok(known)
    })?;
    Ok(extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::archive::{Wanted, archive};

    fn packed(root: &Path) -> (PathBuf, PathBuf) {
        let (folder, to) = (root.join("models"), root.join("models.tar.gz"));
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(folder.join("a.bin"), "weights").unwrap();
        std::fs::write(folder.join("sub/.b"), "hidden").unwrap();
        std::os::unix::fs::symlink("a.bin", folder.join("latest")).unwrap();
        archive(&folder, &to, &Wanted::default(), &Progress::default(), &CancellationToken::new()).unwrap();
        (folder, to)
    }

    fn verdicts(folder: &Path, archive: &Path) -> (bool, String) {
        let found = verify_files(archive, folder, &Progress::default(), &CancellationToken::new()).unwrap();
        let named = found.files.iter().filter(|f| f.verdict != Verdict::Ok).map(|f| shown(&f.path));
        let extra = found.extra.iter().map(|path| format!("+{}", shown(path)));
        (found.intact(), named.chain(extra).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_change_of_a_folder_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let (folder, archive) = packed(root.path());
        assert_eq!(verdicts(&folder, &archive), (true, String::new()));
        std::fs::write(folder.join("stray"), "x").unwrap();
        assert_eq!(verdicts(&folder, &archive), (true, "+stray".into()));
        std::fs::remove_file(folder.join("stray")).unwrap();

        std::fs::write(folder.join("a.bin"), "Weights").unwrap();
        assert_eq!(verdicts(&folder, &archive), (false, "a.bin".into()));
        std::fs::write(folder.join("a.bin"), "weights").unwrap();
        std::fs::set_permissions(folder.join("a.bin"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::remove_file(folder.join("latest")).unwrap();
        std::os::unix::fs::symlink("sub/.b", folder.join("latest")).unwrap();
        std::fs::remove_dir_all(folder.join("sub")).unwrap();
        assert_eq!(verdicts(&folder, &archive), (false, "a.bin latest sub sub/.b".into()));
    }

    #[test]
    fn without_an_inventory_nothing_is_verified() {
        let root = tempfile::tempdir().unwrap();
        let (folder, archive) = packed(root.path());
        std::fs::remove_file(inventory_path(&archive)).unwrap();
        let error = verify_files(&archive, &folder, &Progress::default(), &CancellationToken::new()).unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
    }
}
