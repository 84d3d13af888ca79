//! Temporary folders of a run: private, in the ledger before they exist, gone when the run ends.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::shown;
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};

/// The kind of such a folder in the ledger.
pub const KIND: &str = "folder";

/// How the names of such folders start.
const PREFIX: &str = "runner-";

/// Makes names of one run differ.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes a private folder below `parent` and returns its absolute path with the ticket that removes it and all in it.
pub async fn temp_folder(ledger: &Arc<Ledger>, parent: &Path, purpose: &str) -> Result<(PathBuf, Ticket)> {
    let parent = parent.canonicalize().map_err(|e| Error::io("use", parent, &e))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("{PREFIX}{}-{purpose}-{}-{number}", ledger.run(), std::process::id()));
    // Somebody else's folder must not come into the ledger: it would be removed.
    if folder.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Refused, format!("{} exists already", shown(&folder))).on(shown(&folder)));
    }
    let by_hand = format!("rm -r '{}'", folder.display());
    let record = Record::new(KIND, folder.display().to_string(), by_hand);
    let (making, removing) = (folder.clone(), folder.clone());
    let make = async move {
        let made = std::fs::DirBuilder::new().mode(0o700).create(&making);
        made.map_err(|e| Error::io("create", &making, &e))
    };
    let ((), ticket) = ledger.make(record, make, move || remove(removing)).await?;
    Ok((folder, ticket))
}

/// Removes what a dead run's ledger says of such a folder. A path that we cannot have made is left alone.
pub async fn collect(record: &Record) -> Result<()> {
    let folder = PathBuf::from(&record.name);
    let ours = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    if !ours || !folder.is_absolute() || folder.components().any(|c| c == Component::ParentDir) {
        return Err(Error::new(Kind::Damaged, format!("{} is not a folder of ours", shown(&folder))));
    }
    remove(folder).await
}

/// Removes a folder and what is in it; one that is gone is fine.
async fn remove(folder: PathBuf) -> Result<()> {
    let removing = folder.clone();
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(removing)).await;
    match removed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(e)) => Err(Error::io("remove", &folder, &e)),
        Err(panic) => Err(Error::new(Kind::Bug, "removing a folder panicked").because(&panic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_folder_is_private_and_goes_with_the_run() {
        let root = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("r1", root.path()).unwrap();
        let (first, ticket) = temp_folder(&ledger, root.path(), "work").await.unwrap();
        let (second, kept) = temp_folder(&ledger, root.path(), "work").await.unwrap();
        assert_eq!(first.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir_all(first.join("a/b")).unwrap();
        ticket.remove().await.unwrap();
        assert!(!first.exists() && second.exists());
        kept.keep().unwrap();
        let (third, _ticket) = temp_folder(&ledger, root.path(), "work").await.unwrap();
        assert!(ledger.drain().await.is_empty());
        assert!(!third.exists() && second.exists());
        collect(&Record::new(KIND, second.display().to_string(), "")).await.unwrap();
        assert!(!second.exists());
    }

    #[tokio::test]
    async fn a_ledger_cannot_make_us_remove_what_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        let foreign = root.path().join("precious");
        std::fs::create_dir(&foreign).unwrap();
        let through = format!("{}/x/../runner-1", root.path().display());
        for name in [foreign.display().to_string(), "runner-1".into(), through, "/".into()] {
            assert!(collect(&Record::new(KIND, name.clone(), "")).await.is_err(), "{name}");
        }
        assert!(foreign.exists());
    }
}
