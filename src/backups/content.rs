//! Reads a backup's content to the file's real end and holds it against every list that there is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::backup::{Backup, checksum_path};
use super::manifest::{Format, Manifest};
use crate::compare::{Extent, Level, Verified};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::files::checksums::read_sidecar;
use crate::files::digest::{Digest, Hashed};
use crate::files::members::{Bounds, MemberReader, Packing};
use crate::progress::Progress;

const BLOCK: usize = 256 << 10;

/// What reading a backup to its end showed. Nothing that was looked at was wrong; see [`Inspection::whole`].
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// How it is packed.
    pub format: Format,
    /// The file's digest.
    pub sha256: Digest,
    /// The file's bytes.
    pub size: u64,
    /// The content's bytes.
    pub raw_size: u64,
    /// The lists that the content agreed with: `manifest`, `checksum`, `fingerprint`.
    pub agreed_with: Vec<&'static str>,
    /// The levels that were checked.
    pub checked: Vec<Level>,
    /// What could not be checked, and why.
    pub not_checked: Vec<(String, String)>,
    /// The rows of each table, as counted in the content.
    pub rows: BTreeMap<String, u64>,
    /// How many columns these tables have.
    pub columns: u64,
}

impl Inspection {
    /// Returns whether the file is whole: it was read as a dump to its end, or is to the byte the one that its manifest
    /// describes. What could be neither is not damaged, and not whole either.
    pub fn whole(&self) -> bool {
        self.checked.contains(&Level::Parse) || self.agreed_with.contains(&"manifest")
    }

    /// Returns what the inspection verified. What nothing proves to be whole has not reached the level of a file.
    pub fn verified(&self) -> Verified {
        let extent = Extent {
            files: 1,
            tables: self.rows.len() as u64,
            columns: self.columns,
            rows: self.rows.values().sum(),
            bytes: self.size,
            ..Extent::default()
        };
        Verified {
            not_checked: self.not_checked.clone(),
            ..Verified::held(&self.checked, extent).only_if(self.whole())
        }
    }
}

/// A backup's content as a stream.
pub struct Content {
    path: PathBuf,
    format: Format,
    manifest: Option<Manifest>,
    reader: MemberReader<BufReader<Hashed<Watched>>>,
    raw_size: u64,
}

impl Content {
    /// Opens a backup's content. The members must be those of the manifest; the stream fails where they are not.
    pub fn open(backup: &Backup, progress: &Progress, cancel: &CancellationToken) -> Result<Self> {
        let (file, facts) = files::open(backup.path())?;
        progress.set_total(facts.len());
        let packing = match backup.format() {
            Format::SqlGz | Format::SqliteGz => Packing::Gzip,
            Format::SqlZst => Packing::Zstd,
            Format::Sql | Format::Custom => Packing::Plain,
        };
        let expected = backup.manifest().filter(|m| !m.members.is_empty()).map(bounds);
        let watched = Watched { file, progress: progress.clone(), cancel: cancel.clone() };
        let input = BufReader::with_capacity(BLOCK, Hashed::new(watched));
        Ok(Self {
            path: backup.path().to_owned(),
            format: backup.format(),
            manifest: backup.manifest().cloned(),
            reader: MemberReader::new(input, packing, expected),
            raw_size: 0,
        })
    }

    /// Says that the stream was read to its end: size, digest and checksum are compared. `read` is what the reader of the
    /// stream counted.
    pub fn finish(mut self) -> Result<Inspection> {
        // A reader may stop where its content ends; what the file has behind that must not go unseen.
        let behind = io::copy(&mut self.reader, &mut io::sink()).map_err(|e| self.error(&e))?;
        self.raw_size += behind;
        let input = self.reader.into_input().ok_or_else(|| damaged(&self.path, "it was not read to its end"))?;
        let hashed = input.into_inner();
        let size = hashed.passed();
        let (_, sha256) = hashed.finish();
        let mut agreed_with = Vec::new();
        let mut not_checked = Vec::new();
        match &self.manifest {
            Some(manifest) => {
                agree(&self.path, manifest, size, self.raw_size, sha256)?;
                agreed_with.push("manifest");
            }
            None => not_checked.push(missing("manifest", "there is none; the file was not made by runner's dump")),
        }
        if checksum_path(&self.path).symlink_metadata().is_ok() {
            if read_sidecar(&self.path)? != sha256 {
                return Err(damaged(&self.path, "its SHA-256 is not the one in its .sha256 file"));
            }
            agreed_with.push("checksum");
        } else {
            not_checked.push(missing("checksum", "there is no .sha256 file beside it"));
        }
        Ok(Inspection {
            path: self.path,
            format: self.format,
            sha256,
            size,
            raw_size: self.raw_size,
            agreed_with,
            checked: vec![Level::File],
            not_checked,
            rows: BTreeMap::new(),
            columns: 0,
        })
    }

    /// Makes an error of ours from one that came through the stream.
    pub fn error(&self, cause: &io::Error) -> Error {
        match Error::carried(cause) {
            Some(ours) => ours.on(self.path.display().to_string()),
            None => Error::io("read", &self.path, cause),
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.raw_size += n as u64;
        // A file that unpacks to more than its manifest says is not read on and on.
        match &self.manifest {
            Some(m) if self.format != Format::Custom && self.raw_size > m.raw_size => {
                Err(io::Error::other(damaged(&self.path, "it holds more than its manifest says")))
            }
            _ => Ok(n),
        }
    }
}

fn bounds(manifest: &Manifest) -> Vec<Bounds> {
    let bounds =
        manifest.members.iter().map(|m| Bounds { offset: m.offset, length: m.length, raw_length: m.raw_length });
    bounds.collect()
}

fn missing(what: &str, why: &str) -> (String, String) {
    (what.to_owned(), why.to_owned())
}

fn agree(path: &Path, manifest: &Manifest, size: u64, raw_size: u64, sha256: Digest) -> Result<()> {
    if size != manifest.size {
        return Err(damaged(path, &format!("it has {size} bytes, its manifest says {}", manifest.size)));
    }
    if sha256.to_string() != manifest.sha256.to_ascii_lowercase() {
        return Err(damaged(path, "its SHA-256 is not the one in its manifest"));
    }
    if manifest.kind != Format::Custom && raw_size != manifest.raw_size {
        return Err(damaged(path, &format!("it unpacks to {raw_size} bytes, its manifest says {}", manifest.raw_size)));
    }
    Ok(())
}

/// Returns the error of a backup that is not what it should be.
pub(crate) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(Kind::Damaged, format!("the backup {} is damaged", path.display()))
        .on(path.display().to_string())
        .caused_by(why)
        .hint("restore from another backup; this file cannot be trusted")
}

/// A file whose reading is counted and can be stopped.
struct Watched {
    file: File,
    progress: Progress,
    cancel: CancellationToken,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other(Error::new(Kind::Interrupted, "reading the backup was interrupted")));
        }
        let n = self.file.read(buffer)?;
        self.progress.add(n as u64);
        Ok(n)
    }
}
