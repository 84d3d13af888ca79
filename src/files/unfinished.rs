//! Unfinished files: what a killed run was writing when it died, found again by the word that only its process used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::atomic::{PARTIAL_PREFIX, partial_prefix};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};

/// The kind of such a record.
pub const KIND: &str = "unfinished file";

/// Journals that something is about to be written that will be called `to`. The running process takes its own
/// unfinished files away itself; the record is for whoever comes after a kill.
pub async fn announce(ledger: &Arc<Ledger>, to: &Path) -> Result<Ticket> {
    let folder = to.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::path::absolute(folder).map_err(|e| Error::io("find", folder, &e))?;
    let prefix = partial_prefix();
    let record = Record::new(KIND, to.display().to_string(), format!("rm -r {}/{prefix}*", folder.display()))
        .fact("folder", folder.display().to_string())
        .fact("prefix", prefix);
    let ((), ticket) = ledger.make(record, async { Ok(()) }, || async { Ok(()) }).await?;
    Ok(ticket)
}

/// Removes what a dead run left unfinished.
pub async fn collect(record: &Record) -> Result<()> {
    let fact = |name: &str| record.facts.get(name).and_then(|fact| fact.as_str());
    let (Some(folder), Some(prefix)) = (fact("folder"), fact("prefix")) else {
        return Err(Error::new(Kind::Damaged, format!("the journal does not say where {} was written", record.name)));
    };
    // The journal is a file that a hand can edit: only names that are surely ours go.
    if prefix.len() < PARTIAL_PREFIX.len() + 16 || !prefix.starts_with(PARTIAL_PREFIX) || prefix.contains('/') {
        return Err(Error::new(Kind::Refused, format!("{prefix} is not the name of our unfinished files")));
    }
    for path in named(Path::new(folder), prefix)? {
        let gone = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        gone.map_err(|e| Error::io("remove", &path, &e))?;
    }
    Ok(())
}

fn named(folder: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder, &e)),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|p| p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(prefix.as_bytes()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_dead_runs_own_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let runs = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("r1", runs.path()).unwrap();
        let _ticket = announce(&ledger, &folder.path().join("dump.sql.gz")).await.unwrap();
        let record = ledger.remaining().remove(0);
        let ours = folder.path().join(format!("{}abc", partial_prefix()));
        let others = folder.path().join(".partial-0123456789abcdef-xyz");
        std::fs::write(&ours, b"half").unwrap();
        std::fs::write(&others, b"half").unwrap();
        collect(&record).await.unwrap();
        assert!(!ours.exists() && others.exists());
        collect(&record).await.unwrap(); // absence is fine
        let forged = Record { facts: serde_json::Map::new(), ..record }.fact("folder", "/").fact("prefix", "e");
        assert_eq!(collect(&forged).await.unwrap_err().kind(), Kind::Refused);
    }
}
