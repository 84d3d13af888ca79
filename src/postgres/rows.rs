//! The rows of some tables, read again and again for a row search: from a database in one snapshot, or from a backup.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr_iter;
use tokio_util::sync::CancellationToken;

use super::copy::unescaped;
use super::dump_file::{DumpFile, Text};
use super::dump_text::{DumpReader, Event};
use super::reading::{Reading, blocking};
use crate::backups::{Backup, Section};
use crate::compare::rows::{Form, Look, Seen};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// How COPY writes rows.
const FORM: Form = Form { separator: Some(b'\t'), shown: unescaped };

/// A side of a comparison whose rows can be read more than once and are the same each time.
pub enum RowReader {
    /// A database, at the moment of its fingerprint.
    Database(Box<Reading>),
    /// A backup's file.
    Backup(Arc<Backup>),
}

impl RowReader {
    /// Takes a look at the rows.
    pub async fn look(&self, look: &Look, progress: &Progress) -> Result<Seen> {
        let cancel = CancellationToken::new();
        let _cancelled_with_us = cancel.clone().drop_guard();
        match self {
            Self::Database(reading) => {
                let (wanted, progress) = (look.clone(), progress.clone());
                let tables: Vec<&str> = look.tables().collect();
                reading.rows(&tables, move |text| read(text, wanted, &progress)).await
            }
            Self::Backup(backup) => {
                let (backup, look, progress) = (Arc::clone(backup), look.clone(), progress.clone());
                blocking(move || of_backup(&backup, &look, &progress, &cancel)).await?
            }
        }
    }

    /// Fails unless everything that was seen was of one moment.
    pub async fn end(self) -> Result<()> {
        match self {
            Self::Database(reading) => reading.end().await.map(drop),
            Self::Backup(_) => Ok(()),
        }
    }
}

/// Reads only the members that hold rows of the wanted tables.
fn of_backup(backup: &Backup, look: &Look, progress: &Progress, cancel: &CancellationToken) -> Result<Seen> {
    let file = DumpFile::open(backup, progress, cancel)?;
    let mut seen = look.begin(FORM);
    if file.members().is_empty() {
        return Err(Error::new(Kind::Usage, format!("{} has no members that could be read", file.path().display())));
    }
    for members in wanted(&file, look) {
        let (text, _) = file.part(members)?;
        let counted = Progress::default(); // the file counts its own bytes
        rows(text, &mut seen, &counted).map_err(|e| e.on(file.path().display().to_string()))?;
    }
    Ok(seen)
}

/// Returns the runs of members of the wanted tables.
fn wanted(file: &DumpFile, look: &Look) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut last = None;
    for (at, member) in file.members().iter().enumerate() {
        let table = member.table.as_deref().filter(|_| member.section == Section::Data);
        let Some(table) = table.filter(|name| look.tables().any(|wanted| wanted == *name)) else { continue };
        match runs.last_mut() {
            Some(run) if run.end == at && last == Some(table) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
        last = Some(table);
    }
    runs
}

fn read(text: Text, look: Look, progress: &Progress) -> Result<Seen> {
    let mut seen = look.begin(FORM);
    rows(text, &mut seen, progress)?;
    Ok(seen)
}

/// Reads a text to its end and shows the rows in it.
fn rows(text: Text, seen: &mut Seen, progress: &Progress) -> Result<()> {
    let mut reader = DumpReader::new(text);
    let (mut wanted, mut fields) = (false, Vec::new());
    while let Some(item) = reader.read()? {
        progress.add(item.raw.len() as u64);
        match item.event {
            Event::CopyStart { head, .. } => wanted = seen.enter(&head.table(), &head.columns),
            Event::CopyRows(lines) if wanted => {
                let mut start = 0;
                for end in memchr_iter(b'\n', lines) {
                    let line = &lines[start..end];
                    split(line, &mut fields);
                    seen.row(line, &fields);
                    start = end + 1;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A tab in a value is written as `\t`: every other one parts two fields.
fn split(line: &[u8], fields: &mut Vec<Range<usize>>) {
    fields.clear();
    let mut start = 0;
    for tab in memchr_iter(b'\t', line) {
        fields.push(start..tab);
        start = tab + 1;
    }
    fields.push(start..line.len());
}
