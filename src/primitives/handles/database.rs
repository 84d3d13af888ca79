//! A database as a script holds it: where it is, and what this run may do to it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::postgres::{self, Address, Identity};
use crate::run::{Claim, Guard};
use crate::sqlite;

/// One PostgreSQL or SQLite database.
#[derive(Clone)]
pub(crate) enum Database {
    /// PostgreSQL.
    Postgres(PostgresDatabase),
    /// SQLite: the file, and what this run may do to it.
    Sqlite(sqlite::Database, Standing),
}

/// A PostgreSQL database.
#[derive(Clone)]
pub(crate) struct PostgresDatabase {
    /// Where it is.
    pub(crate) address: Address,
    /// What this run may do to it.
    pub(crate) standing: Standing,
    /// Which server answered there.
    pub(crate) identity: Arc<Identity>,
    /// What the database is called now that a restore of this run replaced by this one.
    pub(crate) replaced: Option<Arc<str>>,
}

/// What this run may do to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is read, never written.
    Source,
    /// The operator asked for a writable handle; the guard has the last word.
    Writable,
    /// This run made it.
    Ours,
}

impl Database {
    /// Returns whether this run made it.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Database::Postgres(database) => database.standing == Standing::Ours,
            Database::Sqlite(_, standing) => *standing == Standing::Ours,
        }
    }

    /// Allows or refuses writing to it.
    pub(crate) fn may_write(&self, guard: &Guard) -> Result<()> {
        match self {
            Database::Postgres(PostgresDatabase { standing: Standing::Ours, .. })
            | Database::Sqlite(_, Standing::Ours) => Ok(()),
            Database::Postgres(PostgresDatabase { standing: Standing::Source, .. })
            | Database::Sqlite(_, Standing::Source) => {
                Err(Error::new(Kind::Refused, format!("{self} was opened read-only")).on(self.to_string()).hint(
                    "work on a sandbox or a scratch database, or open it with #{ writable: true } if you mean it",
                ))
            }
            Database::Postgres(database) => database.names().into_iter().try_for_each(|name| {
                guard.allow(database.identity.system_identifier.as_deref(), &database.host(), name)
            }),
            Database::Sqlite(database, _) => guard.allow(Some(SQLITE), "this machine", &real(database.path())),
        }
    }

    /// Tells the guard that this is a source.
    pub(crate) fn protect(&self, guard: &Guard) -> Result<()> {
        match self {
            Database::Postgres(database) => {
                database.names().into_iter().try_for_each(|name| match &database.identity.system_identifier {
                    Some(system) => guard.add_source(system, name),
                    None => guard.add_unknown_source(name),
                })
            }
            Database::Sqlite(database, _) => guard.add_source(SQLITE, &real(database.path())),
        }
    }
}

/// What stands for the server of a SQLite file.
const SQLITE: &str = "sqlite";

/// One file has one name for the guard, however many links lead to it.
fn real(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}

impl PostgresDatabase {
    /// Connects once, to know who answers.
    pub(crate) async fn open(address: Address, standing: Standing) -> Result<Self> {
        let session = postgres::Session::open(&address, postgres::Access::ReadOnly).await?;
        let identity = Arc::new(session.identity().await?);
        Ok(Self { address, standing, identity, replaced: None })
    }

    /// Takes the right to give its name to another database. What this run made needs none.
    pub(crate) fn claim(&self, guard: &Guard) -> Result<Option<Claim>> {
        if self.standing == Standing::Ours {
            return Ok(None);
        }
        let system = self.identity.system_identifier.as_deref();
        guard.claim(system, &self.host(), &self.identity.database).map(Some)
    }

    fn host(&self) -> String {
        self.address.host().to_string()
    }

    /// Returns its names: a pooler may call it something else than its server does.
    fn names(&self) -> BTreeSet<&str> {
        BTreeSet::from([self.address.database(), self.identity.database.as_str()])
    }
}

impl std::fmt::Display for PostgresDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Database::Postgres(database) => database.fmt(f),
            Database::Sqlite(database, _) => database.path().display().fmt(f),
        }
    }
}
