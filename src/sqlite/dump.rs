//! Dumping: a copy through the online backup API, checked, fingerprinted and packed while the source goes on.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::backup::{Backup as Copy, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::connection::{Access, Database};
use super::failure::failed;
use super::fingerprint::fingerprint;
use super::packing::{self, Packed};
use crate::backups::{self, Backup, FORMAT, Format, Manifest, Source};
use crate::compare::{Aspect, Engine, Fingerprint};
use crate::error::{Error, Kind, Result};
use crate::files::{atomic, go_on, shown};
use crate::progress::Progress;

/// Pages for one step: about a MiB, after which another program may write and we may be cancelled.
const PAGES: i32 = 256;

/// How long one step waits for a lock before we look whether we were cancelled.
const GLANCE: Duration = Duration::from_millis(500);

/// How long a lock on the source may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often writers may make the copy start again before we make them wait instead.
const RESTARTS: u32 = 3;

/// The most lines of SQLite's integrity check that an error carries.
const COMPLAINTS: usize = 5;

/// Writes the database to `to` (`NAME.sqlite.gz`) with its manifest and checksum.
///
/// What is packed, checked and fingerprinted is one private copy of one state of the database. The source is only read.
pub fn dump(database: &Database, to: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Backup> {
    let started_at = Timestamp::now();
    // The name is tried before the work; the folder comes into being with it.
    drop(atomic::AtomicFile::create(to)?);
    let folder = private_folder(to)?;
    let copy = folder.path().join("copy.sqlite");
    let taken_at = copy_online(database, &copy, progress, cancel)?;
    let copy = Database::open(&copy, Access::ReadOnly)?;
    let (packed, print) = pack_and_read(&copy, to, cancel)?;
    let manifest = manifest(database, to, &packed, print, started_at, taken_at);
    backups::seal(packed.file, to, &manifest)
}

/// Makes a folder for us alone beside a file, so that a rename out of it stays on one disk.
pub(super) fn private_folder(beside: &Path) -> Result<tempfile::TempDir> {
    let parent = beside.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    atomic::create_folder(parent)?;
    tempfile::Builder::new()
        .prefix(atomic::partial_prefix())
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|e| Error::io("create a folder in", parent, &e))
}

/// Copies the database page by page and returns the moment whose state the copy holds.
///
/// In WAL mode readers and writers do not meet, so one snapshot is held from the start. In the other modes a held
/// snapshot would stop every writer: there the copy starts again when one writes, and holds on only if that goes on.
fn copy_online(database: &Database, to: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Timestamp> {
    let failed = |e: rusqlite::Error| failed("copy", database.path(), &e);
    let source = database.with_access(Access::ReadOnly).connect(cancel)?;
    source.busy_timeout(GLANCE).map_err(failed)?;
    let page_size: i64 =
        source.query_row("select page_size from pragma_page_size", (), |row| row.get(0)).map_err(failed)?;
    let journal: String = source.query_row("pragma journal_mode", (), |row| row.get(0)).map_err(failed)?;
    let mut target = new_file(to).map_err(failed)?;
    let copy = Copy::new(&source, &mut target).map_err(failed)?;

    let mut taken_at = Timestamp::now();
    let mut holding = journal == "wal";
    if holding {
        hold(&source, database, cancel)?;
    }
    let (mut restarts, mut remaining) = (0, i32::MAX);
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        go_on(cancel, &format!("dumping {}", shown(database.path())))?;
        match copy.step(PAGES).map_err(failed)? {
            StepResult::Done => break,
            StepResult::More => deadline = Instant::now() + PATIENCE,
            // SQLite has waited for a moment already.
            _ if Instant::now() < deadline => continue,
            _ => return Err(locked(database)),
        }
        let now = copy.progress();
        if now.remaining > remaining {
            restarts += 1;
            taken_at = Timestamp::now();
            if restarts >= RESTARTS && !holding {
                hold(&source, database, cancel)?;
                holding = true;
            }
        }
        let bytes = |pages: i32| (page_size * i64::from(pages)).max(0).unsigned_abs();
        progress.set_total(bytes(now.pagecount));
        progress.add(bytes(now.pagecount - now.remaining).saturating_sub(progress.done()));
        remaining = now.remaining;
    }
    drop(copy);
    target.close().map_err(|(_, e)| failed(e))?;
    Ok(taken_at)
}

/// Starts a snapshot on the source that lasts as long as its connection.
fn hold(source: &Connection, database: &Database, cancel: &CancellationToken) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let begin = "begin; select count(*) from sqlite_schema";
    while let Err(e) = source.execute_batch(begin) {
        go_on(cancel, "dumping")?;
        let busy = e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
        if !busy || Instant::now() > deadline {
            return Err(failed("read", database.path(), &e));
        }
        let _ = source.execute_batch("rollback"); // the begin may have come through
    }
    Ok(())
}

fn locked(database: &Database) -> Error {
    let name = shown(database.path());
    Error::new(Kind::Database, format!("could not copy {name}: it was locked for {} seconds", PATIENCE.as_secs()))
        .on(name)
        .retryable()
        .hint("find the program that keeps a write transaction open")
}

/// Opens the file that the copy goes into: no journal and no flushing, since half a copy is thrown away.
fn new_file(to: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(to, flags)?;
    connection.execute_batch("pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -8192")?;
    Ok(connection)
}

/// Packs the copy in one thread while this one checks and reads it; each ends when the other fails.
fn pack_and_read(copy: &Database, to: &Path, cancel: &CancellationToken) -> Result<(Packed, Fingerprint)> {
    let both = &cancel.child_token();
    let (packed, print) = std::thread::scope(|scope| {
        let stop = move |_: &Error| both.cancel();
        let packing = scope.spawn(move || packing::pack(copy.path(), to, &Progress::default(), both).inspect_err(stop));
        let print = check(copy, both).and_then(|()| fingerprint(copy, &Progress::default(), both)).inspect_err(stop);
        (packing.join(), print)
    });
    let packed = packed.unwrap_or_else(|_| Err(Error::new(Kind::Bug, "packing the copy panicked")));
    match (packed, print) {
        (Ok(packed), Ok(print)) => Ok((packed, print)),
        // The one that failed first stopped the other: its error is the one to tell.
        (Err(e), Ok(_)) => Err(e),
        (Err(e), Err(other)) if other.kind() == Kind::Interrupted => Err(e),
        (_, Err(e)) => Err(e),
    }
}

/// Fails when SQLite finds the database inconsistent: a table that cannot be read, an index that disagrees with its table.
pub(super) fn check(database: &Database, cancel: &CancellationToken) -> Result<()> {
    let connection = database.connect(cancel)?;
    let failed = |e: rusqlite::Error| failed("check", database.path(), &e);
    let mut statement = connection.prepare(&format!("pragma integrity_check({COMPLAINTS})")).map_err(failed)?;
    let lines = statement.query_map((), |row| row.get::<_, String>(0)).map_err(failed)?;
    let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>().map_err(failed)?;
    if lines == ["ok"] {
        return Ok(());
    }
    Err(Error::new(Kind::Damaged, "SQLite's integrity check found damage in the database")
        .caused_by(crate::secret::printable(&lines.join("; "), false))
        .hint("a REINDEX mends indexes; for anything else restore an older backup"))
}

fn manifest(
    database: &Database,
    to: &Path,
    packed: &Packed,
    fingerprint: Fingerprint,
    started_at: Timestamp,
    taken_at: Timestamp,
) -> Manifest {
    let text = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    let encoding = fingerprint.items.iter().find(|i| i.aspect == Aspect::Property && i.object == "encoding");
    let source = Source {
        address: shown(database.path()),
        database: text(database.path().file_stem()),
        version: rusqlite::version().to_owned(),
        encoding: encoding.map(|i| i.value.clone()),
        ..Source::default()
    };
    Manifest {
        format: FORMAT,
        tool: concat!("runner ", env!("CARGO_PKG_VERSION")).to_owned(),
        engine: Engine::Sqlite,
        kind: Format::SqliteGz,
        file: text(to.file_name()),
        size: packed.size,
        sha256: packed.sha256.to_string(),
        raw_size: packed.raw_size,
        started_at,
        taken_at,
        finished_at: Timestamp::now(),
        source,
        tools: BTreeMap::from([("sqlite".to_owned(), rusqlite::version().to_owned())]),
        tables: None,
        masked: BTreeMap::new(),
        members: packed.members.clone(),
        fingerprint,
    }
}

/// Returns the files that SQLite keeps beside a database while it is used.
pub(super) fn companions(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| crate::files::with_suffix(path, suffix))
}
