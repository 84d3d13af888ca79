//! A server as a script holds it: a sandbox of this run that databases are restored into.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::postgres::{self, Address, RestoreTarget};
use crate::run::{Event, Run};
use crate::sqlite;

/// A throwaway server. Clones are the same server.
#[derive(Clone)]
pub(crate) struct Server {
    shown: Arc<str>,
    sandbox: Arc<Mutex<Option<Sandbox>>>,
}

/// What a server is.
pub(crate) enum Sandbox {
    /// A PostgreSQL server.
    Postgres(postgres::Sandbox),
    /// A folder that stands for one.
    Sqlite(sqlite::Sandbox),
}

impl Server {
    /// Takes a sandbox.
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        let shown = match &sandbox {
            Sandbox::Postgres(sandbox) => sandbox.describe(),
            Sandbox::Sqlite(sandbox) => format!("SQLite in {}", sandbox.folder().display()),
        };
        Self { shown: shown.into(), sandbox: Arc::new(Mutex::new(Some(sandbox))) }
    }

    /// Looks at the sandbox while it is there.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Sandbox) -> Result<T>) -> Result<T> {
        match &*self.lock() {
            Some(sandbox) => at(sandbox),
            None => Err(Error::new(Kind::Missing, format!("{} was removed already", self.shown))
                .hint("use the server inside its with_sandbox block")),
        }
    }

    /// Returns where a PostgreSQL sandbox is restored into.
    pub(crate) fn postgres_target(&self) -> Result<Option<RestoreTarget>> {
        self.look(|sandbox| match sandbox {
            Sandbox::Postgres(sandbox) => Ok(Some(RestoreTarget::sandbox(sandbox))),
            Sandbox::Sqlite(_) => Ok(None),
        })
    }

    /// Returns the address of one of its PostgreSQL databases.
    pub(crate) fn postgres_address(&self, database: &str) -> Result<Option<Address>> {
        self.look(|sandbox| match sandbox {
            Sandbox::Postgres(sandbox) => Ok(Some(sandbox.address(database))),
            Sandbox::Sqlite(_) => Ok(None),
        })
    }

    /// Removes it now. A second time does nothing.
    pub(crate) async fn remove(&self) -> Result<()> {
        let sandbox = self.lock().take();
        match sandbox {
            Some(Sandbox::Postgres(sandbox)) => sandbox.remove().await,
            Some(Sandbox::Sqlite(sandbox)) => sandbox.remove().await,
            None => Ok(()),
        }
    }

    /// Leaves it to the operator and says how to reach and to remove it.
    pub(crate) async fn keep(&self, run: &Run) -> Result<()> {
        let sandbox = self.lock().take();
        let text = match sandbox {
            Some(Sandbox::Postgres(sandbox)) => {
                let kept = sandbox.keep().await?;
                format!(
                    "kept for a look. Connect: {}  Remove: {}  (or all that was kept: runner gc --kept)",
                    kept.connect, kept.remove
                )
            }
            Some(Sandbox::Sqlite(sandbox)) => {
                let folder = sandbox.keep()?;
                format!(
                    "kept for a look: {0}  Remove: rm -r {0}  (or all that was kept: runner gc --kept)",
                    folder.display()
                )
            }
            None => return Ok(()),
        };
        run.journal.record(Event::Said { text, warning: true });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sandbox>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}
