//! Restoring: a dump is read whole, then loaded into a new database, which gets its name when it is whole.

mod beside;
mod checked;
mod database;
mod definitions;
mod load;
mod preflight;
mod roles;
mod selection;
mod settings;
mod survey;
mod swap;
mod table;
mod tablespaces;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use self::checked::Checked;
use self::database::Scratch;
use self::load::Known;
use self::survey::Survey;
use super::archive::Unpacking;
use super::copy::full_name;
use super::dump_file::{self, DumpFile};
use super::{Access, Address, Sandbox, Session};
use crate::backups::{Backup, Format};
use crate::cleanup::Ledger;
use crate::docker::Container;
use crate::error::Result;
use crate::progress::Progress;

pub use self::beside::Beside;
pub use self::database::collect_database;
pub use self::swap::Swap;
pub use self::table::{TableOptions, TableRestore, may_restore_table, restore_table};

/// More sessions than this make each other wait.
const MOST_JOBS: usize = 8;

/// A server to restore into.
pub struct RestoreTarget {
    server: Address,
    throwaway: bool,
    container: Option<Container>,
}

impl RestoreTarget {
    /// Takes a server that is not ours, through a database that its administrator may connect to.
    pub fn server(server: Address) -> Self {
        Self { server, throwaway: false, container: None }
    }

    /// Takes a sandbox: roles may be made there, and pg_restore runs inside.
    pub fn sandbox(sandbox: &Sandbox) -> Self {
        Self { server: sandbox.address("postgres"), throwaway: true, container: sandbox.container().cloned() }
    }

    /// Returns the address of the server's maintenance database.
    pub fn address(&self) -> &Address {
        &self.server
    }

    /// Returns the container that the server runs in, where we know it.
    fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }

    /// Returns whether nobody will miss the server.
    pub fn is_throwaway(&self) -> bool {
        self.throwaway
    }
}

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The name of the restored database.
    pub database: String,
    /// The tables to restore with all that belongs to them; everything when there is none.
    pub tables: Option<Vec<String>>,
    /// Takes the place of a database that has the name.
    pub replace: bool,
    /// Leaves the replaced database as `<name>__before_<run>`.
    pub keep_replaced: bool,
    /// The target may be the very database that the backup was taken from. What it holds is kept.
    pub in_place: bool,
    /// The number of sessions; one for each processor when there is none.
    pub jobs: Option<usize>,
    /// The collation and character classes, where not the source's.
    pub locale: Option<String>,
    /// Collects the planner's statistics at the end.
    pub analyze: bool,
    /// Makes the roles that the dump names and the server lacks, without passwords, also where it is no throwaway one.
    pub roles: bool,
}

/// What a restore made.
pub struct Restored {
    /// The restored database.
    pub address: Address,
    /// How many rows were loaded.
    pub rows: u64,
    /// What the replaced database is called now, where it was kept.
    pub replaced: Option<String>,
    /// What a selection of tables left out although it belongs to one of them: keys to tables that were not selected.
    pub left_out: Vec<String>,
}

impl RestoreOptions {
    /// Returns whether what is replaced stays.
    pub fn keeps_replaced(&self) -> bool {
        self.keep_replaced || self.in_place
    }
}

/// Restores a backup into a new database, which takes its name at the end.
pub async fn restore(
    backup: &Backup,
    target: &RestoreTarget,
    options: &RestoreOptions,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<Restored> {
    let beside = restore_beside(backup, target, options, ledger, progress).await?;
    let swap = beside.look().await?;
    beside.take_place(swap, false, ()).await
}

/// Refuses what may not be restored, by what can be told without reading the backup.
pub async fn may_restore(backup: &Backup, target: &RestoreTarget, options: &RestoreOptions) -> Result<()> {
    let admin = Session::open(target.address(), Access::ReadOnly).await?;
    preflight::allowed(&admin, target, backup.manifest(), options).await.map(drop)
}

/// Restores a backup into a new database beside its target, which stays as it is.
pub async fn restore_beside(
    backup: &Backup,
    target: &RestoreTarget,
    options: &RestoreOptions,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<Beside> {
    may_restore(backup, target, options).await?; // before the long reading
    let cancel = CancellationToken::new();
    let _cancelled_with_us = cancel.clone().drop_guard();
    let file = DumpFile::open(backup, progress, &cancel)?;
    progress.set_total(2 * file.size()); // it is read twice
    let checked = Checked::read(backup, file, target, ledger).await?;
    let admin = Session::open(target.address(), Access::Writable).await?;
    let lacks = preflight::check(&admin, target, &checked.survey, backup.manifest(), options).await?;
    roles::create(&admin, &lacks.roles, backup.manifest()).await?;
    tablespaces::create(&admin, &lacks.tablespaces, backup.manifest()).await?;
    let locale = settings::locale(backup.manifest(), options, &checked.survey.preamble);
    let scratch = Scratch::create(target, &options.database, &locale, ledger).await?;
    match fill(&checked, target, &scratch, backup, options, ledger).await {
        Ok(filled) => Ok(Beside::new(scratch, options, filled, ledger)),
        Err(error) => {
            let _ = scratch.remove().await; // a removal that failed is reported by the final drain
            Err(error)
        }
    }
}

/// What was loaded, and what a selection left out.
#[derive(Default)]
struct Filled {
    rows: u64,
    left_out: Vec<String>,
}

/// Fills the new database.
async fn fill(
    checked: &Checked,
    target: &RestoreTarget,
    scratch: &Scratch,
    backup: &Backup,
    options: &RestoreOptions,
    ledger: &Arc<Ledger>,
) -> Result<Filled> {
    let survey = &checked.survey;
    let sessions = sessions(&scratch.address(), survey, jobs(options)).await?;
    let Some(first) = sessions.first() else { return Ok(Filled::default()) };
    let is_partial = backup.manifest().is_some_and(|manifest| manifest.tables.is_some());
    if is_partial {
        selection::make_schemas(survey, first).await?;
    }
    definitions::in_order(&survey.before.iter().collect::<Vec<_>>(), first).await?;
    let selection = match &options.tables {
        Some(tables) => Some(selection::Selection::find(tables, first).await?),
        None => None,
    };
    let (there, plain) = tables(first).await?;
    let known = Known {
        tables: &survey.tables,
        plain,
        wanted: selection.as_ref().map(selection::Selection::tables),
        digests: &checked.digests,
        digest: &checked.digest,
        freeze: !target.is_throwaway(),
    };
    let kept = known.wanted.or(is_partial.then_some(&there));
    let (after, left_out) = selection::split(&survey.after, kept);
    let (builds, after) = definitions::early(&after);
    let loaded = if checked.format == Format::Custom {
        let (unpacking, text) = Unpacking::start(&checked.file, target.container.as_ref(), ledger).await?;
        let (loaded, digest) =
            tokio::join!(load::whole(text, &known, first, checked.file.progress()), unpacking.finish());
        let loaded = loaded?;
        if digest? != checked.digest {
            return Err(dump_file::changed(checked.file.path()));
        }
        definitions::side_by_side(builds, &survey.tables, &sessions).await?;
        loaded
    } else {
        load::all(&checked.file, &known, builds, &sessions).await?
    };
    for (table, rows) in survey.tables.iter().filter(|(table, _)| known.wants(table)) {
        let found = loaded.get(table).copied().unwrap_or_default();
        if found != rows.count {
            return Err(checked::other_count(&checked.file, table, found, rows.count));
        }
    }
    definitions::after_data(&after, &survey.tables, &sessions).await?;
    if let Some(selection) = &selection {
        selection.drop_others(first).await?;
    }
    settings::apply(first, scratch.own_name(), backup.manifest()).await?;
    if options.analyze {
        first.client().batch_execute("ANALYZE").await.map_err(|e| first.error("could not analyze the database", &e))?;
    }
    Ok(Filled { rows: loaded.values().sum(), left_out })
}

fn jobs(options: &RestoreOptions) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    options.jobs.unwrap_or_else(|| processors.clamp(2, 4)).clamp(1, MOST_JOBS)
}

/// Opens sessions with the dump's own settings.
async fn sessions(address: &Address, survey: &Survey, count: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(count);
    for _ in 0..count {
        let session = Session::open(address, Access::Writable).await?;
        let version = session.identity().await?.version_num;
        for setting in survey.preamble.iter().filter(|setting| is_known(setting, version)) {
            let set = session.client().batch_execute(setting).await;
            set.map_err(|e| session.error(format!("could not make the dump's setting {setting}"), &e))?;
        }
        sessions.push(session);
    }
    Ok(sessions)
}

/// A pg_dump that is newer than its server writes a setting that the server does not know; it only says 0.
fn is_known(setting: &str, version: u32) -> bool {
    !(setting == "SET transaction_timeout = 0;" && version < 170_000)
}

/// Returns all tables, and those that can be emptied and filled in one transaction: no partitioned and no foreign ones.
async fn tables(session: &Session) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let statement = "select n.nspname::text, c.relname::text, c.relkind = 'r' from pg_catalog.pg_class c \
                     join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'f')";
    let rows = session.client().query(statement, &[]).await;
    let rows = rows.map_err(|e| session.error("could not list the tables", &e))?;
    let name = |row: &Row| full_name(Some(row.get(0)), row.get(1));
    Ok((rows.iter().map(name).collect(), rows.iter().filter(|row| row.get(2)).map(name).collect()))
}
