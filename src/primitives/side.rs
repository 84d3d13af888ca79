//! One side of a comparison: something that has a fingerprint and, for most, rows that can be read again.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Call;
use super::handles::{Backup, Database, Fingerprint};
use crate::backups::Format;
use crate::cleanup::Ticket;
use crate::compare::rows::{Look, Seen};
use crate::compare::{self, Hashed, Hashing, Scope};
use crate::error::{Error, Kind, Result};
use crate::files::temp_folder::temp_folder;
use crate::postgres::{self, RowReader};
use crate::progress::Progress;
use crate::run::Run;
use crate::sqlite;

/// Something that has a fingerprint.
pub(super) enum Side {
    Database(Database),
    Backup(Backup),
    Print(Fingerprint),
}

/// A side as it was read.
pub(super) struct Held {
    /// What it holds.
    pub(super) print: compare::Fingerprint,
    /// Its rows, where they were asked for.
    pub(super) rows: Rows,
    /// Which rows its server hashed.
    pub(super) hashed: Hashed,
}

/// A side's rows, to be read again.
pub(super) enum Rows {
    Postgres(RowReader),
    Sqlite(sqlite::Database, Option<Ticket>),
    /// A backup that is unpacked when its rows are needed.
    Packed(Backup),
    /// Why there are none.
    Closed(&'static str),
}

impl Side {
    /// Reads an argument.
    pub(super) fn read(call: &Call, at: usize) -> Result<Self> {
        let value = call.any(at);
        if let Some(backup) = value.read_lock::<Backup>() {
            return Ok(Side::Backup(backup.clone()));
        }
        if let Some(print) = value.read_lock::<Fingerprint>() {
            return Ok(Side::Print(print.clone()));
        }
        call.handle(at, "a Database or a Backup").map(Side::Database)
    }

    /// Returns the columns that a backup holds masked.
    pub(super) fn masked(&self) -> Option<Vec<String>> {
        match self {
            Side::Backup(backup) if backup.is_masked() => {
                Some(backup.0.manifest()?.masked.iter().map(|(column, way)| format!("{column}: {way}")).collect())
            }
            _ => None,
        }
    }

    /// Returns the fingerprint of what is in scope and, with `rows`, the rows that it was taken of. `hashing` is for the server
    /// of a live PostgreSQL.
    pub(super) async fn hold(
        self,
        run: Arc<Run>,
        scope: &Scope,
        rows: bool,
        hashing: Hashing,
        progress: Progress,
    ) -> Result<Held> {
        if scope.passwords && !matches!(self, Side::Database(Database::Postgres(_))) {
            return Err(Error::new(Kind::Usage, "passwords can only be compared between two PostgreSQL databases")
                .hint("no backup and no fingerprint holds them"));
        }
        match self {
            Side::Print(print) => Ok(Held::of((*print.0).clone(), Rows::Closed("a fingerprint holds no rows"))),
            Side::Backup(backup) => {
                let print = backup.0.need_manifest("tell what it holds")?.fingerprint.clone();
                Ok(Held::of(print, Rows::of_backup(backup)))
            }
            Side::Database(Database::Postgres(database)) => {
                let Scope { tables, matviews, passwords, .. } = scope;
                let (address, ledger) = (&database.address, &run.ledger);
                let held = postgres::hold(address, tables, *matviews, *passwords, hashing, &progress, ledger).await?;
                let (print, hashed) = (held.print, held.hashed);
                if rows {
                    return Ok(Held { print, rows: Rows::Postgres(held.rows), hashed });
                }
                held.rows.end().await?;
                Ok(Held { print, rows: Rows::Closed("they were not asked for"), hashed })
            }
            Side::Database(Database::Sqlite(database, _)) => {
                let reading = database.clone();
                let work = move |cancel: &CancellationToken| sqlite::fingerprint(&reading, &progress, cancel);
                Ok(Held::of(on_thread(work).await?, Rows::Sqlite(database, None)))
            }
        }
    }

    /// Returns whether it is a server's database, to be read now.
    pub(super) fn is_live_postgres(&self) -> bool {
        matches!(self, Side::Database(Database::Postgres(_)))
    }
}

impl Held {
    fn of(print: compare::Fingerprint, rows: Rows) -> Self {
        Self { print, rows, hashed: Hashed::default() }
    }
}

impl Rows {
    fn of_backup(backup: Backup) -> Self {
        match backup.0.format() {
            Format::Custom => Rows::Closed("only a restore reads pg_dump's own archive: compare the restored database"),
            Format::SqliteGz => Rows::Packed(backup),
            Format::SqlGz | Format::SqlZst | Format::Sql => Rows::Postgres(RowReader::Backup(backup.0)),
        }
    }

    /// Says why the rows cannot be read.
    pub(super) fn closed(&self) -> Option<&'static str> {
        if let Rows::Closed(why) = self { Some(why) } else { None }
    }

    /// Makes the rows of a packed database readable.
    pub(super) async fn opened(self, run: &Run, progress: &Progress) -> Result<Self> {
        let Rows::Packed(backup) = self else { return Ok(self) };
        let (folder, ticket) = temp_folder(&run.ledger, &std::env::temp_dir(), "rows").await?;
        let progress = progress.clone();
        let work = move |cancel: &CancellationToken| sqlite::unpacked(&backup.0, &folder, &progress, cancel);
        Ok(Rows::Sqlite(on_thread(work).await?, Some(ticket)))
    }

    /// Returns the keys of a table, the best one first.
    pub(super) async fn keys(&self, print: &compare::Fingerprint, table: &str) -> Result<Vec<Vec<String>>> {
        match self {
            Rows::Postgres(_) => Ok(postgres::keys(print, table)),
            Rows::Sqlite(database, _) => {
                let (database, table) = (database.clone(), table.to_owned());
                on_thread(move |cancel| sqlite::keys(&database, &table, cancel)).await
            }
            Rows::Packed(_) | Rows::Closed(_) => Ok(Vec::new()),
        }
    }

    /// Takes a look at the rows.
    pub(super) async fn look(&self, look: &Look, progress: &Progress) -> Result<Seen> {
        match self {
            Rows::Postgres(reader) => reader.look(look, progress).await,
            Rows::Sqlite(database, _) => {
                let (database, look, progress) = (database.clone(), look.clone(), progress.clone());
                on_thread(move |cancel| sqlite::look(&database, &look, &progress, cancel)).await
            }
            Rows::Packed(_) | Rows::Closed(_) => Err(Error::new(Kind::Bug, "these rows cannot be read")),
        }
    }

    /// Lets go of what was held, and fails unless all that was read was of one moment.
    pub(super) async fn end(self) -> Result<()> {
        match self {
            Rows::Postgres(reader) => reader.end().await,
            Rows::Sqlite(_, Some(ticket)) => ticket.remove().await,
            Rows::Sqlite(_, None) | Rows::Packed(_) | Rows::Closed(_) => Ok(()),
        }
    }
}

/// Does blocking work on a thread; it is told to end when the future is dropped.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> Result<T> + Send + 'static,
) -> Result<T> {
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let working = tokio::task::spawn_blocking(move || work(&cancel));
    working.await.map_err(|panic| Error::new(Kind::Bug, "reading the database panicked").because(&panic))?
}
