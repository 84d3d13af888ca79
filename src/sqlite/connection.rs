//! A handle to one SQLite database, and the connections it opens.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::failure::failed;
use crate::error::{Error, Kind, Result};
use crate::files::{self, shown};

/// How a file starts that is an SQLite database.
pub(super) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long SQLite itself waits for a lock. It cannot be cancelled meanwhile; longer waits are loops that can.
const BUSY: Duration = Duration::from_secs(5);

/// How many of SQLite's steps pass between two looks at the cancellation: well under a millisecond.
const STEPS: i32 = 10_000;

/// Whether a database may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read; the file is opened without the right to write.
    ReadOnly,
    /// Read and written.
    Writable,
}

/// A handle to one database. Each use opens a connection of its own, so clones can work side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    path: PathBuf,
    access: Access,
}

impl Database {
    /// Opens the database at `path`, which must be there and be an SQLite database.
    pub fn open(path: &Path, access: Access) -> Result<Self> {
        check_start(path)?;
        // An absolute path is never taken for a URI, whose options could undo what is refused here.
        let path = path.canonicalize().map_err(|e| Error::io("open", path, &e))?;
        let database = Self { path, access };
        let connection = database.connect(&CancellationToken::new())?;
        connection
            .query_row("select count(*) from sqlite_schema", (), |row| row.get::<_, i64>(0))
            .map_err(|e| failed("read", &database.path, &e))?;
        Ok(database)
    }

    /// Makes an empty database at a path that is free.
    pub fn create(path: &Path) -> Result<Self> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        files::atomic::create_folder(parent)?;
        let made = File::options().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|e| Error::io("create", path, &e))?;
        let path = path.canonicalize().map_err(|e| Error::io("open", path, &e))?;
        let database = Self { path, access: Access::Writable };
        let connection = database.connect(&CancellationToken::new())?;
        // Any write makes the first page, and with it a file that says what it is.
        let written = connection.execute_batch("pragma user_version = 1; pragma user_version = 0");
        written.map_err(|e| failed("create", &database.path, &e))?;
        Ok(database)
    }

    /// Returns the file's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the database may be written to.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Returns the handle with another access.
    pub fn with_access(&self, access: Access) -> Self {
        Self { path: self.path.clone(), access }
    }

    /// Opens a connection that ends its work when it is cancelled and believes nothing that the file says about code.
    pub(super) fn connect(&self, cancel: &CancellationToken) -> Result<Connection> {
        self.settled(cancel).map_err(|e| failed("open", &self.path, &e))
    }

    fn settled(&self, cancel: &CancellationToken) -> rusqlite::Result<Connection> {
        let access = match self.access {
            Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Writable => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let mut connection = Connection::open_with_flags(&self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // Page sizes differ; a negative cache size is in KiB and bounds memory whatever they are.
        connection.execute_batch("pragma cache_size = -8192; pragma cell_size_check = on; pragma mmap_size = 0")?;
        if self.access == Access::ReadOnly {
            connection.execute_batch("pragma query_only = on")?;
        }
        let cancel = cancel.clone();
        connection.progress_handler(STEPS, Some(move || cancel.is_cancelled()))?;
        Ok(connection)
    }
}

/// Refuses what is not an SQLite database before SQLite sees it: an empty file would pass for an empty database.
fn check_start(path: &Path) -> Result<()> {
    let (mut file, facts) = files::open(path)?;
    let not_one = |why: &str| {
        Err(Error::new(Kind::Damaged, format!("{} is not an SQLite database: {why}", shown(path))).on(shown(path)))
    };
    if facts.len() == 0 {
        return not_one("the file is empty");
    }
    let mut start = [0; MAGIC.len()];
    match file.read_exact(&mut start) {
        Ok(()) if start == *MAGIC => Ok(()),
        Ok(()) => not_one("it starts like another kind of file, or it is encrypted"),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => not_one("the file is too short"),
        Err(e) => Err(Error::io("read", path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_database_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, says) in [
            ("empty", &b""[..], "the file is empty"),
            ("short", b"SQLite", "too short"),
            ("text", b"create table t(a); -- not a database", "another kind of file"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = Database::open(&path, Access::ReadOnly).unwrap_err();
            assert!(error.kind() == Kind::Damaged && error.to_string().contains(says), "{error}");
        }
        let torn = folder.path().join("torn");
        std::fs::write(&torn, [&MAGIC[..], &[7; 4096]].concat()).unwrap();
        assert!(Database::open(&torn, Access::ReadOnly).is_err());
        assert_eq!(Database::open(&folder.path().join("no"), Access::Writable).unwrap_err().kind(), Kind::Missing);
    }

    #[test]
    fn a_database_is_made_only_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/app.db");
        let made = Database::create(&path).unwrap();
        assert_eq!(Database::open(&path, Access::Writable).unwrap(), made);
        assert!(Database::create(&path).is_err());
    }

    #[test]
    fn a_read_only_handle_cannot_write_even_without_its_pragma() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Database::create(&path).unwrap();
        let connection = Database::open(&path, Access::ReadOnly).unwrap().connect(&CancellationToken::new()).unwrap();
        assert!(connection.execute_batch("create table t(a)").is_err());
        assert!(connection.execute_batch("pragma query_only = off; create table t(a)").is_err());
    }

    #[test]
    fn a_name_that_looks_like_a_uri_is_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file:x.db?mode=memory");
        Database::create(&path).unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() > 0);
    }
}
