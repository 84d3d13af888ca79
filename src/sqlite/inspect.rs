//! Inspecting: a backup is read to its end and compared with its lists, without restoring it.

use std::io::{self, Write};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::packing::unpack;
use crate::backups::{Backup, Inspection, damaged};
use crate::compare::Level;
use crate::error::Result;
use crate::progress::Progress;

/// The bytes of a database file that say how large it is.
const HEADER: usize = 100;

/// Reads the backup at `path` to its end: digest, gzip, and that the database has as many pages as it says.
pub fn inspect(path: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Inspection> {
    let backup = Backup::open(path)?;
    let mut start = Start(Vec::with_capacity(HEADER));
    let mut inspection = unpack(&backup, &mut start, progress, cancel)?;
    let promised = promised_size(&start.0).ok_or_else(|| damaged(path, "its database has no whole header"))?;
    if promised != inspection.raw_size {
        let why = format!("its database has {} bytes, its header says {promised}", inspection.raw_size);
        return Err(damaged(path, &why));
    }
    inspection.checked.push(Level::Parse);
    inspection.not_checked.push(("rows".into(), "those of SQLite are read when the backup is restored".into()));
    Ok(inspection)
}

/// Keeps the first bytes and counts the rest as written.
struct Start(Vec<u8>);

impl Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = HEADER - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns page size times page count; a size of 1 means 65,536.
fn promised_size(header: &[u8]) -> Option<u64> {
    let size = u16::from_be_bytes(header.get(16..18)?.try_into().ok()?);
    let pages = u32::from_be_bytes(header.get(28..32)?.try_into().ok()?);
    let size = if size == 1 { 65_536 } else { u64::from(size) };
    Some(size * u64::from(pages))
}
