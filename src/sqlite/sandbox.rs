//! A sandbox for SQLite: a throwaway folder that stands for a server, its files for the databases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cleanup::{Ledger, Ticket};
use crate::error::{Error, Kind, Result};
use crate::files::temp_folder::temp_folder;

/// A folder of this run in which databases can be restored and thrown away.
pub struct Sandbox {
    folder: PathBuf,
    ticket: Ticket,
}

impl Sandbox {
    /// Makes the folder below `parent`; the ledger removes it with all its databases.
    pub async fn start(ledger: &Arc<Ledger>, parent: &Path) -> Result<Self> {
        let (folder, ticket) = temp_folder(ledger, parent, "sqlite").await?;
        Ok(Self { folder, ticket })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns where the database `name` lies or would lie, the file name included.
    pub fn database(&self, name: &str) -> Result<PathBuf> {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= 100
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '));
        if !plain {
            return Err(Error::new(Kind::Usage, format!("{name:?} cannot be the name of a database"))
                .hint("use letters, digits, _, - and dots"));
        }
        Ok(self.folder.join(format!("{name}.sqlite")))
    }

    /// Removes the folder and its databases now.
    pub async fn remove(self) -> Result<()> {
        self.ticket.remove().await
    }

    /// Leaves the folder to the user and returns it.
    pub fn keep(self) -> Result<PathBuf> {
        self.ticket.set_aside()?;
        Ok(self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Database;

    #[tokio::test]
    async fn databases_live_in_the_sandbox_and_go_with_it() {
        let root = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("r1", root.path()).unwrap();
        let sandbox = Sandbox::start(&ledger, root.path()).await.unwrap();
        let path = sandbox.database("restore_test").unwrap();
        Database::create(&path).unwrap();
        for name in ["../x", "a/b", "", ".", "x\0"] {
            assert!(sandbox.database(name).is_err(), "{name:?}");
        }
        sandbox.remove().await.unwrap();
        assert!(!path.exists());
    }
}
