//! What SQLite's codes mean for an operator.

use rusqlite::ErrorCode;

use crate::error::{Error, Kind};
use crate::files::shown;

/// Makes an error from SQLite's: `what` says what could not be done with the database at `path`.
pub(super) fn failed(what: &str, path: &std::path::Path, cause: &rusqlite::Error) -> Error {
    let name = shown(path);
    let error = |kind| Error::new(kind, format!("could not {what} {name}")).on(name.clone()).because(cause);
    let Some(code) = cause.sqlite_error_code() else { return error(Kind::Database) };
    match code {
        ErrorCode::OperationInterrupted => Error::new(Kind::Interrupted, format!("work on {name} was interrupted")),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            error(Kind::Database).retryable().hint("another program holds a lock on it; wait for it or stop it")
        }
        ErrorCode::NotADatabase => error(Kind::Damaged).hint("the file is not an SQLite database, or it is encrypted"),
        ErrorCode::DatabaseCorrupt => error(Kind::Damaged)
            .hint("the file is damaged: restore a backup, or save what `sqlite3 FILE .recover` can read"),
        ErrorCode::CannotOpen => error(Kind::Io)
            .hint("a database in WAL mode needs a folder that can be written to, or its -wal and -shm files beside it"),
        ErrorCode::DiskFull => error(Kind::Io).hint("free some space"),
        ErrorCode::SystemIoFailure => error(Kind::Io),
        ErrorCode::PermissionDenied => error(Kind::Io).hint("the file's permissions do not let us in"),
        ErrorCode::ReadOnly => error(Kind::Refused).hint("it was opened to read; open it with writable: true to write"),
        ErrorCode::AuthorizationForStatementDenied => error(Kind::Refused),
        _ => error(Kind::Database),
    }
}
