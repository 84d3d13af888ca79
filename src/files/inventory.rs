//! The inventory of an archive, `NAME.manifest.json`: every entry with its mode, size and SHA-256.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::atomic::AtomicFile;
use super::digest::Digest;
use super::{open, shown, with_suffix};
use crate::error::{Error, Kind, Result};

/// What the file calls itself.
const FORMAT: &str = "runner archive 1";

/// A larger inventory than this is none of ours.
const INVENTORY_LIMIT: u64 = 1 << 30;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Another name of a file that came before.
    HardLink,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below the folder.
    pub path: Name,
    /// What it is.
    pub kind: EntryKind,
    /// Its permissions, in octal.
    pub mode: String,
    /// How many bytes it holds.
    pub size: u64,
    /// The digest of a file's content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
}

/// A path in JSON: text, or hexadecimal digits where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(pub PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self.0.to_str() {
            Some(text) => Written::Text(text.to_owned()),
            None => Written::Bytes { hex: self.0.as_os_str().as_bytes().iter().map(|b| format!("{b:02x}")).collect() },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("a name in hexadecimal digits was expected");
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(PathBuf::from(text))),
            Written::Bytes { hex } => {
                if hex.len() % 2 != 0 {
                    return Err(wrong());
                }
                let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16)).collect::<Option<_>>().ok_or_else(wrong)?;
                let bytes = digits.chunks_exact(2).map(|d| (d[0] * 16 + d[1]) as u8).collect();
                Ok(Self(PathBuf::from(OsString::from_vec(bytes))))
            }
        }
    }
}

/// The archive that an inventory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveFacts {
    /// Its file name.
    pub name: Name,
    /// How many bytes it holds.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// Returns where the inventory of an archive is kept.
pub fn inventory_path(archive: &Path) -> PathBuf {
    with_suffix(archive, ".manifest.json")
}

/// An inventory while it is written, entry by entry, so that memory does not grow with the folder.
pub(crate) struct Writer {
    to: PathBuf,
    out: BufWriter<AtomicFile>,
    entries: u64,
    origin: Option<serde_json::Value>,
}

impl Writer {
    /// Starts the inventory of the archive that will be called `archive`.
    pub(crate) fn start(archive: &Path) -> Result<Self> {
        let to = inventory_path(archive);
        let mut out = BufWriter::new(AtomicFile::create(&to)?);
        write!(out, "{{\"format\":\"{FORMAT}\",\"entries\":[").map_err(|e| Error::io("write", &to, &e))?;
        Ok(Self { to, out, entries: 0, origin: None })
    }

    /// Adds one entry.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<()> {
        let comma = if self.entries == 0 { "\n" } else { ",\n" };
        self.entries += 1;
        self.out.write_all(comma.as_bytes()).map_err(|e| Error::io("write", &self.to, &e))?;
        serde_json::to_writer(&mut self.out, entry).map_err(|e| Error::io("write", &self.to, &e.into()))
    }

    /// Says what the archive was made from, where that is no folder.
    pub(crate) fn set_origin(&mut self, origin: serde_json::Value) {
        self.origin = Some(origin);
    }

    /// Returns how many entries there are.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Ends the inventory; the file comes back to be named when the archive is.
    pub(crate) fn finish(mut self, archive: &ArchiveFacts) -> Result<AtomicFile> {
        let failed = |e: &std::io::Error| Error::io("write", &self.to, e);
        self.out.write_all(b"\n],\"archive\":").map_err(|e| failed(&e))?;
        serde_json::to_writer(&mut self.out, archive).map_err(|e| failed(&e.into()))?;
        if let Some(origin) = &self.origin {
            self.out.write_all(b",\"origin\":").map_err(|e| failed(&e))?;
            serde_json::to_writer(&mut self.out, origin).map_err(|e| failed(&e.into()))?;
        }
        self.out.write_all(b"}\n").map_err(|e| failed(&e))?;
        let Self { to, out, .. } = self;
        out.into_inner().map_err(|e| Error::io("write", &to, e.error()))
    }
}

/// An inventory to check an archive against: each entry may be taken out once.
pub(crate) struct Inventory {
    /// The archive it was written for.
    pub(crate) archive: ArchiveFacts,
    /// What it was made from, where that is no folder.
    pub(crate) origin: Option<serde_json::Value>,
    entries: HashMap<PathBuf, Entry>,
}

#[derive(Deserialize)]
struct Document {
    format: String,
    entries: Vec<Entry>,
    archive: ArchiveFacts,
    #[serde(default)]
    origin: Option<serde_json::Value>,
}

impl Inventory {
    /// Reads the inventory beside `archive` if there is one.
    pub(crate) fn beside(archive: &Path) -> Result<Option<Self>> {
        let path = inventory_path(archive);
        let (file, facts) = match open(&path) {
            Ok(open) => open,
            Err(e) if e.kind() == Kind::Missing => return Ok(None),
            Err(e) => return Err(e),
        };
        let damaged = |why: String| {
            Error::new(Kind::Damaged, format!("{} is not the inventory of an archive", shown(&path)))
                .on(shown(&path))
                .caused_by(why)
        };
        if facts.len() > INVENTORY_LIMIT {
            return Err(damaged("it is larger than 1 GiB".into()));
        }
        let document: Document = serde_json::from_reader(BufReader::new(file)).map_err(|e| damaged(e.to_string()))?;
        if document.format != FORMAT {
            return Err(damaged(format!("its format is {:?}", document.format)));
        }
        let listed = document.entries.len();
        let entries: HashMap<_, _> = document.entries.into_iter().map(|e| (e.path.0.clone(), e)).collect();
        if entries.len() != listed {
            return Err(damaged("it lists an entry twice".into()));
        }
        Ok(Some(Self { archive: document.archive, origin: document.origin, entries }))
    }

    /// Checks one entry that the archive really holds.
    pub(crate) fn check(&mut self, found: &Entry) -> Result<()> {
        let name = shown(&found.path.0);
        let damaged = |what: String| Error::new(Kind::Damaged, format!("{name} {what}")).on(name.clone());
        let Some(wanted) = self.entries.remove(&found.path.0) else {
            return Err(damaged("is in the archive and not in its inventory".into()));
        };
        let what = if wanted.kind != found.kind {
            "is of another kind than its inventory says"
        } else if wanted.size != found.size || wanted.sha256 != found.sha256 {
            "has another content than its inventory says"
        } else if wanted.target != found.target {
            "leads elsewhere than its inventory says"
        } else if wanted.mode != found.mode {
            "has other permissions than its inventory says"
        } else {
            return Ok(());
        };
        Err(damaged(what.into()))
    }

    /// Returns all entries by their names.
    pub(crate) fn listed(self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.entries.into_values().collect();
        entries.sort_by(|a, b| a.path.0.cmp(&b.path.0));
        entries
    }

    /// Fails when the archive lacked an entry.
    pub(crate) fn complete(self) -> Result<()> {
        let mut left: Vec<_> = self.entries.into_keys().collect();
        left.sort();
        match left.first() {
            None => Ok(()),
            Some(first) => {
                let name = shown(first);
                Err(Error::new(
                    Kind::Damaged,
                    format!("{} of the inventory's entries are not in the archive", left.len()),
                )
                .on(name.clone())
                .caused_by(format!("the first is {name}")))
            }
        }
    }
}
