//! Restoring: a backup becomes a database beside its place, is checked there, and then gets its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::connection::{Access, Database};
use super::dump::{check, companions, private_folder};
use super::failure::failed;
use super::packing::unpack;
use crate::backups::{Backup, Format};
use crate::compare::Aspect;
use crate::error::{Error, Kind, Result};
use crate::files::{atomic, shown};
use crate::progress::Progress;

/// What helps when the database that has to go is in use.
const STOP_USERS: &str = "stop the programs that use the database, then restore again";

/// Restores a backup to the path `to`, which must be free unless `replace` says that the database there may go.
///
/// Nothing is at `to` until the digest agreed, the whole file was unpacked, and SQLite's integrity and foreign key
/// checks found what the backup's manifest says. A replaced database must not be in use.
pub fn restore(
    backup: &Backup,
    to: &Path,
    replace: bool,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Database> {
    if backup.format() != Format::SqliteGz {
        return Err(Error::new(
            Kind::Usage,
            format!("{} is a {} backup, not one of SQLite", shown(backup.path()), backup.format()),
        )
        .on(shown(backup.path())));
    }
    refuse_taken(to, replace)?;
    let folder = private_folder(to)?;
    let path = folder.path().join("restored.sqlite");
    let failed = |e: &io::Error| Error::io("write", to, e);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|e| failed(&e))?;
    unpack(backup, &mut file, progress, cancel)?;
    file.sync_all().map_err(|e| failed(&e))?;
    drop(file);
    let restored = Database::open(&path, Access::ReadOnly)?;
    check(&restored, cancel)?;
    check_references(backup, &restored, cancel)?;
    if replace && to.symlink_metadata().is_ok() {
        retire(to)?;
        std::fs::rename(&path, to).map_err(|e| Error::io("name", to, &e))?;
    } else {
        // What came up at the name meanwhile stays.
        let named = tempfile::TempPath::try_from_path(&path).and_then(|path| Ok(path.persist_noclobber(to)?));
        named.map_err(|e| Error::io("name", to, &e))?;
    }
    atomic::sync_folder(to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Database::open(to, Access::Writable)
}

/// Refuses a path at which there is something, or beside which a journal waits that SQLite would play into our file.
fn refuse_taken(to: &Path, replace: bool) -> Result<()> {
    let refused = |why: &str, hint: &str| {
        Err(Error::new(Kind::Refused, format!("could not restore to {}: {why}", shown(to))).on(shown(to)).hint(hint))
    };
    match to.symlink_metadata() {
        Ok(facts) if !facts.is_file() => refused("it is not a regular file", "name a file"),
        Ok(_) if !replace => refused("there is a file already", "name another file, or say replace: true"),
        // Only a database may be replaced: a wrong path must not cost somebody's file.
        Ok(_) => Database::open(to, Access::ReadOnly).map(drop).map_err(|e| {
            e.hint("only a healthy database is replaced: if this file is what has to be restored, move it away first")
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match companions(to).iter().find(|p| p.exists()) {
            Some(stray) => {
                refused(&format!("{} is left of another database", shown(stray)), "move that file away first")
            }
            None => Ok(()),
        },
        Err(e) => Err(Error::io("read", to, &e)),
    }
}

/// Fails unless the foreign keys are as whole as they were: the manifest knows how many were broken at the source.
fn check_references(backup: &Backup, restored: &Database, cancel: &CancellationToken) -> Result<()> {
    let Some(manifest) = backup.manifest() else { return Ok(()) };
    let Some(expected) =
        manifest.fingerprint.items.iter().find(|i| i.aspect == Aspect::Property && i.object == "foreign_key_check")
    else {
        return Ok(());
    };
    let found = super::fingerprint::broken_references(restored, cancel)?;
    if found != expected.value {
        return Err(Error::new(
            Kind::Damaged,
            format!("the foreign keys of {} are not what they were", shown(backup.path())),
        )
        .on(shown(backup.path()))
        .caused_by(format!("expected {}, found {found}", expected.value)));
    }
    Ok(())
}

/// Makes the old database safe to replace: nobody uses it, and no journal of it is left to be played into the new one.
fn retire(old: &Path) -> Result<()> {
    let database = Database::open(old, Access::Writable)?;
    let connection = database.connect(&CancellationToken::new())?;
    let in_use = |e: rusqlite::Error| match failed("replace", old, &e) {
        error if error.kind() == Kind::Database => error.hint(STOP_USERS),
        error => error.hint("move the damaged file away, then restore"),
    };
    // Leaving WAL mode needs every other connection gone, and takes the log away.
    let mode: String = connection.query_row("pragma journal_mode = delete", (), |row| row.get(0)).map_err(in_use)?;
    connection.execute_batch("begin exclusive; rollback").map_err(in_use)?;
    drop(connection);
    let left = companions(old).into_iter().find(|p| File::open(p).is_ok());
    if mode != "delete" || left.is_some() {
        return Err(Error::new(Kind::Refused, format!("could not replace {}: it is in use", shown(old)))
            .on(shown(old))
            .hint(STOP_USERS));
    }
    Ok(())
}
