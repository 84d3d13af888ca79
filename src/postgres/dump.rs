//! Dumps a database into a file that gets its name only when everything about it is known to be good.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::address::Address;
use super::mask::Mask;
use super::pipeline::{Output, Passed};
use super::reading::{Facts, Reading};
use crate::backups::{self, Backup, FORMAT, Format, Manifest, Member};
use crate::cleanup::Ledger;
use crate::compare::{Engine, Fingerprint};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::{Digest, Hasher};
use crate::files::members::Packing;
use crate::progress::Progress;
use crate::signing::signature_path;

const BLOCK: usize = 1 << 20;

/// What is to be dumped, and where to.
#[derive(Clone)]
pub struct DumpRequest {
    /// The database.
    pub source: Address,
    /// The file.
    pub to: PathBuf,
    /// How it is packed.
    pub format: Format,
    /// Only these tables; empty means the whole database.
    pub tables: Vec<String>,
    /// How many threads hash and pack, and by that how many pg_dumps write rows; `None` takes a thread for each core.
    pub jobs: Option<usize>,
    /// Whether the content of materialised views is read for the fingerprint.
    pub matviews: bool,
    /// Columns whose values the copy does not hold.
    pub mask: Option<Mask>,
}

/// Dumps a database: pg_dump's own text, its fingerprint and the manifest, all of one moment.
///
/// The file gets its name after pg_dump ended with 0, the text was whole and the snapshot was still there. Dropping the
/// future leaves nothing: pg_dump is killed, its stream ends, the unnamed file goes.
pub async fn dump(request: &DumpRequest, progress: &Progress, ledger: &Arc<Ledger>) -> Result<Backup> {
    let started_at = Timestamp::now();
    if request.mask.is_some() && request.format == Format::Custom {
        return Err(Error::new(Kind::Refused, "pg_dump's own archive cannot be masked")
            .hint("masking works on pg_dump's text: end the name in .sql.gz, .sql.zst or .sql"));
    }
    let file = start_file(&request.to, request.format)?;
    let reading = Reading::begin(&request.source, &request.tables, request.matviews, ledger).await?;
    let masking = match &request.mask {
        Some(mask) => Some(reading.masking(mask).await?),
        None => None,
    };
    let masked = masking.as_ref().map(|masking| masking.columns().clone()).unwrap_or_default();
    let content = match packing(request.format) {
        Some(packing) => {
            let output = Output { packing, file: file.file()?, folder: file.folder().to_owned(), masking };
            Content::of_text(reading.text(Some(output), request.jobs, progress).await?, &reading, progress).await?
        }
        None => archive(&reading, &file, request, progress).await?,
    };
    let facts = reading.end().await?;
    let manifest = Manifest { masked, ..manifest(request, started_at, content, facts)? };
    backups::seal(file, &request.to, &manifest)
}

/// Refuses a name that is taken before any work is done.
fn start_file(to: &Path, format: Format) -> Result<AtomicFile> {
    if format.engine() != Engine::Postgres {
        return Err(Error::new(Kind::Usage, format!("a PostgreSQL database cannot be dumped as {format}"))
            .hint("formats are sql.gz, sql.zst, sql and custom"));
    }
    let manifest = backups::manifest_path(to);
    for beside in [signature_path(&manifest), manifest, backups::checksum_path(to)] {
        if beside.symlink_metadata().is_ok() {
            return Err(Error::new(Kind::Refused, format!("{} exists already", beside.display()))
                .on(beside.display().to_string())
                .hint("it may be left from a run that died: remove it, or choose another name"));
        }
    }
    AtomicFile::create(to)
}

/// Returns how a format's text is packed; `None` is pg_dump's own archive.
pub(super) fn packing(format: Format) -> Option<Packing> {
    match format {
        Format::SqlGz => Some(Packing::Gzip),
        Format::SqlZst => Some(Packing::Zstd),
        Format::Sql => Some(Packing::Plain),
        Format::Custom | Format::SqliteGz => None,
    }
}

/// What a dump's file turned out to be.
struct Content {
    size: u64,
    sha256: Digest,
    raw_size: u64,
    members: Vec<Member>,
    print: Fingerprint,
}

impl Content {
    async fn of_text(passed: Passed, reading: &Reading, progress: &Progress) -> Result<Self> {
        Ok(Self {
            size: passed.size,
            sha256: passed.sha256,
            raw_size: passed.raw_size,
            members: passed.members,
            print: reading.complete(passed.print, passed.roles, progress).await?,
        })
    }
}

/// Takes pg_dump's own archive as it is, and the fingerprint by a second pg_dump in the same snapshot.
async fn archive(reading: &Reading, file: &AtomicFile, request: &DumpRequest, progress: &Progress) -> Result<Content> {
    let to = file.file()?;
    let count = progress.clone();
    let (size, sha256) = reading.archive(move |stream| copy(stream, to, &count)).await?;
    let passed = reading.text(None, request.jobs, progress).await?;
    Ok(Content {
        size,
        sha256,
        raw_size: passed.raw_size,
        members: Vec::new(),
        print: reading.complete(passed.print, passed.roles, progress).await?,
    })
}

fn copy(mut from: impl Read, mut to: File, progress: &Progress) -> Result<(u64, Digest)> {
    let mut hasher = Hasher::default();
    let mut block = vec![0; BLOCK];
    let failed = |e: &std::io::Error| Error::new(Kind::Io, "could not write the backup").because(e);
    loop {
        match from.read(&mut block) {
            Ok(0) => break,
            Ok(n) => {
                to.write_all(&block[..n]).map_err(|e| failed(&e))?;
                hasher.update(&block[..n]);
                progress.add(n as u64);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::new(Kind::Process, "could not read from pg_dump").because(&e)),
        }
    }
    to.sync_data().map_err(|e| failed(&e))?;
    Ok((hasher.bytes(), hasher.finish()))
}

fn manifest(request: &DumpRequest, started_at: Timestamp, content: Content, facts: Facts) -> Result<Manifest> {
    let file = request.to.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::new(Kind::Usage, format!("{} is no name for a backup", request.to.display())).hint("use UTF-8 names")
    })?;
    let version = env!("CARGO_PKG_VERSION");
    Ok(Manifest {
        format: FORMAT,
        tool: format!("runner {version}"),
        engine: Engine::Postgres,
        kind: request.format,
        file: file.to_owned(),
        size: content.size,
        sha256: content.sha256.to_string(),
        raw_size: content.raw_size,
        started_at,
        taken_at: facts.taken_at,
        finished_at: Timestamp::now(),
        source: facts.source,
        tools: BTreeMap::from([("pg_dump".to_owned(), facts.version)]),
        tables: facts.tables,
        masked: BTreeMap::new(),
        members: content.members,
        fingerprint: content.print,
    })
}

#[cfg(test)]
pub(super) mod tests;
