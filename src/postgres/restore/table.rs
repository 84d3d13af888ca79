//! One table of a backup back into a live database: in one transaction, with all that belongs to it, and with the proof
//! that nothing else changed before it commits.

mod card;
mod others;
mod reference;
mod rows;
mod work;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::reference::Reference;
use self::work::Work;
use super::{Checked, RestoreOptions, RestoreTarget, preflight};
use crate::backups::Backup;
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};
use crate::postgres::dump_file::DumpFile;
use crate::postgres::{Access, Session};
use crate::progress::Progress;

/// The settings of a dump that decide how its rows are read. In a live database no other one is taken from a file.
const SETTINGS: [&str; 3] = ["SET client_encoding ", "SET standard_conforming_strings ", "SET xmloption "];

/// How to restore a table.
#[derive(Debug, Clone, Default)]
pub struct TableOptions {
    /// The table as people write it.
    pub table: String,
    /// A table of the name may be there: its rows and definition make room.
    pub replace: bool,
    /// The target may be the very database that the backup was taken from. The rows that make room are kept.
    pub in_place: bool,
    /// Leaves the rows that make room as `<name>__before_<run>`.
    pub keep_replaced: bool,
    /// Does not read the rows of the other tables, for a database in which others write meanwhile.
    pub others_may_change: bool,
}

impl TableOptions {
    fn keeps_replaced(&self) -> bool {
        self.keep_replaced || self.in_place
    }

    fn of_database(&self, database: &str) -> RestoreOptions {
        let (database, in_place) = (database.to_owned(), self.in_place);
        RestoreOptions { database, in_place, replace: true, ..RestoreOptions::default() }
    }
}

/// A restored table that waits for its commit. Dropped, it leaves everything as it was.
pub struct TableRestore {
    session: Session,
    /// The table's full name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Whether it was not there.
    pub created: bool,
    /// The table that holds the rows that were there before.
    pub replaced: Option<String>,
    /// What was not as in the backup, besides rows.
    pub mended: Vec<String>,
    /// What the backup has and could not come back: keys of tables that are not there.
    pub left_out: Vec<String>,
    /// Views and the like that use the table in the backup and are not there.
    pub lost: Vec<String>,
    /// How many other objects, tables and sequences were compared.
    pub compared: usize,
}

/// Refuses what may not be restored, by what can be told without reading the backup.
pub async fn may_restore_table(
    backup: &Backup,
    target: &RestoreTarget,
    database: &str,
    options: &TableOptions,
) -> Result<()> {
    let session = Session::open(target.address(), Access::ReadOnly).await?;
    let identity = session.identity().await?;
    preflight::refuse_the_source(&identity, target, backup.manifest(), &options.of_database(database))
}

/// Restores one table up to the commit.
///
/// The definitions of the backup are made in a database beside, without rows, so that the server itself tells what belongs
/// to the table. In one transaction in the target the table is brought to that, its rows are loaded, and everything is
/// compared: the table with the backup, everything else with what it was before.
pub async fn restore_table(
    backup: &Backup,
    target: &RestoreTarget,
    database: &str,
    options: &TableOptions,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<TableRestore> {
    may_restore_table(backup, target, database, options).await?; // before the long reading
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let file = DumpFile::open(backup, progress, &cancel)?;
    progress.set_total(2 * file.size());
    let checked = Checked::read(backup, file, target, ledger).await?;
    let whole = options.of_database(database);
    let reference = Reference::make(&checked, backup, target, &whole, &options.table, ledger).await?;
    let made = in_transaction(&checked, &reference, backup, target, database, options, ledger).await;
    let removed = reference.remove().await;
    let made = made?;
    removed?;
    Ok(made)
}

async fn in_transaction(
    checked: &Checked,
    reference: &Reference,
    backup: &Backup,
    target: &RestoreTarget,
    database: &str,
    options: &TableOptions,
    ledger: &Arc<Ledger>,
) -> Result<TableRestore> {
    let session = Session::open(&target.address().with_database(database), Access::Writable).await?;
    for setting in checked.survey.preamble.iter().filter(|text| SETTINGS.iter().any(|name| text.starts_with(name))) {
        let set = session.client().batch_execute(setting).await;
        set.map_err(|e| session.error(format!("could not make the dump's setting {setting}"), &e))?;
    }
    let version = session.identity().await?.version_num;
    let work = Work { checked, reference, backup, target, options, session: &session, ledger, version };
    let Made { table, rows, created, replaced, mended, left_out, lost, compared } = work.run().await?;
    Ok(TableRestore { session, table, rows, created, replaced, mended, left_out, lost, compared })
}

impl TableRestore {
    /// Commits. `held` is let go when the server has answered.
    ///
    /// # Errors
    /// When the server did not commit: then everything is as it was.
    pub async fn commit<H: Send + Sync + 'static>(self, held: H) -> Result<Self> {
        let Self { session, .. } = self;
        // A caller that goes away does not stop a commit that the server was asked for.
        let committing = tokio::spawn(async move {
            let _until_answered = held;
            let committed = commit(&session).await;
            (session, committed)
        });
        let (session, committed) =
            committing.await.map_err(|panic| Error::new(Kind::Bug, "committing panicked").because(&panic))?;
        committed?;
        Ok(Self { session, ..self })
    }
}

/// COMMIT of a transaction that failed answers without an error, too: the server is asked what became of it.
async fn commit(session: &Session) -> Result<()> {
    let failed = |e: &tokio_postgres::Error| session.error("could not commit the restored table", e);
    let client = session.client();
    let row = client.query_one("select pg_catalog.txid_current()", &[]).await.map_err(|e| failed(&e))?;
    client.batch_execute("COMMIT").await.map_err(|e| failed(&e))?;
    let status = client.query_one("select pg_catalog.txid_status($1)", &[&row.get::<_, i64>(0)]).await;
    match status.map_err(|e| failed(&e))?.get::<_, Option<&str>>(0) {
        Some("committed") => Ok(()),
        other => {
            Err(Error::new(Kind::Database, "the restored table was not committed")
                .caused_by(other.unwrap_or("unknown")))
        }
    }
}

/// What the transaction came to.
struct Made {
    table: String,
    rows: u64,
    created: bool,
    replaced: Option<String>,
    mended: Vec<String>,
    left_out: Vec<String>,
    lost: Vec<String>,
    compared: usize,
}
