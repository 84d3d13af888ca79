//! Inspecting: a dump is read to its end, as text and to the row, and compared with its manifest, without restoring it.

mod archive;

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::catalog;
use super::pipeline::{self, Passed};
use crate::backups::{Backup, Content, Format, Inspection, Member, damaged};
use crate::compare::{Extent, Fingerprint, Item, Level, Scope, compare};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// How an archive of pg_dump's begins.
const MAGIC: &[u8; 5] = b"PGDMP";

/// Reads the backup at `path` to its end. Blocking: give it a thread of a runtime's.
///
/// # Errors
/// Whatever does not agree is an error that names it. What could not be looked at, since a list is missing, is in the
/// result and no pass.
pub fn inspect(path: &Path, progress: &Progress, cancel: &CancellationToken) -> Result<Inspection> {
    let backup = Backup::open(path)?;
    let mut content = Content::open(&backup, progress, cancel)?;
    match backup.format() {
        Format::SqliteGz => Err(Error::new(Kind::Usage, format!("{} is an SQLite backup", path.display()))),
        Format::Custom => {
            let mut start = [0; MAGIC.len()];
            let read = content.read_exact(&mut start).is_ok();
            if !read || &start != MAGIC {
                return Err(damaged(path, "it is no archive of pg_dump's"));
            }
            archive::read(&backup, content.finish()?, cancel)
        }
        Format::SqlGz | Format::SqlZst | Format::Sql => {
            // The bytes of the file are counted by the content; those of the text would be counted twice.
            let passed = pipeline::read(&mut content).map_err(|failed| named(path, failed.error))?;
            text(&backup, content.finish()?, &passed)
        }
    }
}

fn named(path: &Path, error: Error) -> Error {
    if error.kind() != Kind::Damaged {
        return error.on(path.display().to_string());
    }
    let named = damaged(path, &error.to_string());
    match error.next_step() {
        Some(hint) => named.hint(hint),
        None => named,
    }
}

fn text(backup: &Backup, mut inspection: Inspection, passed: &Passed) -> Result<Inspection> {
    inspection.checked.push(Level::Parse);
    inspection.columns = Extent::of(&passed.print).columns;
    inspection.rows = passed.print.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect();
    match backup.manifest() {
        None => inspection.not_checked.push(("fingerprint".into(), "without a manifest there is none".into())),
        Some(manifest) => {
            labels(&manifest.members, &passed.blocks).map_err(|why| damaged(backup.path(), &why))?;
            same(&manifest.fingerprint, &passed.print).map_err(|why| damaged(backup.path(), &why))?;
            inspection.agreed_with.push("fingerprint");
        }
    }
    Ok(inspection)
}

/// The members that the manifest calls a table's hold that table's rows and no others do: a restore of one table trusts it.
fn labels(members: &[Member], blocks: &[(Range<u64>, String)]) -> Result<(), String> {
    let mut at = 0;
    for member in members {
        let raw = at..at + member.raw_length;
        at = raw.end;
        let next = blocks.partition_point(|(block, _)| block.end <= raw.start);
        let block = blocks.get(next).filter(|(block, _)| block.start < raw.end);
        let right = match (block, &member.table) {
            (None, None) => true,
            (Some((block, name)), Some(table)) => name == table && block.start <= raw.start && raw.end <= block.end,
            _ => false,
        };
        if !right {
            return Err(format!("its manifest mislabels the member at byte {}", member.offset));
        }
    }
    Ok(())
}

/// The fingerprint read from the text is the one that the manifest holds, but for what never was in the text.
fn same(expected: &Fingerprint, found: &Fingerprint) -> Result<(), String> {
    let in_text = |item: &&Item| !catalog::is_beside(item);
    let expected = Fingerprint {
        items: expected.items.iter().filter(in_text).cloned().collect(),
        unread: Default::default(),
        views: Default::default(),
        ..expected.clone()
    };
    let verdict = compare(&expected, found, &Scope::default()).map_err(|e| e.to_string())?;
    if verdict.equal { Ok(()) } else { Err(format!("its fingerprint does not fit: {}", verdict.summary())) }
}

#[cfg(test)]
mod tests;
