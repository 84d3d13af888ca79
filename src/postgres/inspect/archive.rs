//! Inspecting pg_dump's own archive: pg_restore reads it to its end, and what it makes of it is held against the manifest.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{named, text};
use crate::backups::{Backup, Inspection};
use crate::error::{Error, Kind, Result};
use crate::postgres::archive::Unpacking;
use crate::postgres::dump_file::{self, DumpFile};
use crate::postgres::pipeline::{self, Passed};
use crate::progress::Progress;

/// Reads the archive whose bytes were seen already. Where there is no pg_restore that can, it says so: a file without a
/// manifest is then nothing that counts as whole.
pub(super) fn read(backup: &Backup, mut seen: Inspection, cancel: &CancellationToken) -> Result<Inspection> {
    match unpacked(backup, cancel) {
        Ok((passed, digest)) if digest == seen.sha256.to_string() => text(backup, seen, &passed),
        Ok(_) => Err(dump_file::changed(backup.path())),
        Err(error) if error.kind() == Kind::Missing => {
            let why = [error.to_string()].into_iter().chain(error.causes().last().cloned()).collect::<Vec<_>>();
            seen.not_checked.push(("parse".into(), why.join(": ")));
            Ok(seen)
        }
        Err(error) => Err(error),
    }
}

fn unpacked(backup: &Backup, cancel: &CancellationToken) -> Result<(Passed, String)> {
    // The bytes were counted when they were digested.
    let file = DumpFile::open(backup, &Progress::default(), cancel)?;
    let runtime =
        Handle::try_current().map_err(|e| Error::new(Kind::Bug, "an archive is read without a runtime").because(&e))?;
    let _entered = runtime.enter();
    let (unpacking, text) = Unpacking::start_here(&file)?;
    let feeding = runtime.spawn(unpacking.finish());
    let passed = pipeline::read(text);
    let digest =
        runtime.block_on(feeding).map_err(|e| Error::new(Kind::Bug, "reading an archive panicked").because(&e))?;
    match (passed, digest) {
        // The text was wrong first; that nobody took the rest of it is only what followed for pg_restore.
        (Err(failed), _) if !failed.input_ended => Err(named(backup.path(), failed.error)),
        (_, Err(error)) => Err(error),
        (Err(failed), Ok(_)) => Err(named(backup.path(), failed.error)),
        (Ok(passed), Ok(digest)) => Ok((passed, digest)),
    }
}
