//! Inspecting: a backup is read to its end and compared with its lists, without restoring it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use tokio_util::sync::CancellationToken;

use super::packing::{damaged, unpack};
use crate::backups::{Backup, Inspection};
use crate::compare::Level;
use crate::error::Result;
use crate::files;
use crate::progress::Progress;

/// The bytes of a database file that say how large it is.
const HEADER: usize = 100;

/// Reads the backup to its end: digest, gzip, and that the database has as many pages as it says.
pub fn inspect(backup: &Backup, progress: &Progress, cancel: &CancellationToken) -> Result<Inspection> {
    let mut start = Start(Vec::with_capacity(HEADER));
    let read = unpack(backup, &mut start, progress, cancel)?;
    let promised = promised_size(&start.0).ok_or_else(|| damaged(backup.path(), "its database has no whole header"))?;
    if promised != read.raw_size {
        let why = format!("its database has {} bytes, its header says {promised}", read.raw_size);
        return Err(damaged(backup.path(), &why));
    }
    Ok(Inspection {
        path: backup.path().to_owned(),
        format: backup.format(),
        sha256: read.sha256,
        size: files::listing::size(backup.path())?,
        raw_size: read.raw_size,
        agreed_with: read.agreed_with,
        checked: vec![Level::File, Level::Parse],
        not_checked: vec![("fingerprint".into(), "a SQLite file's rows are read when it is restored".into())],
        rows: BTreeMap::new(),
    })
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
