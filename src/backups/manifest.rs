//! The manifest: what a backup holds, where it came from and how to read a part of it. Written beside the file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::compare::{Engine, Fingerprint};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::signing::Trust;

/// The format number that this version writes and reads.
pub const FORMAT: u32 = 1;

/// A larger manifest is not ours: it would have to fit into memory.
const LARGEST: u64 = 64 << 20;

/// How a backup's content is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// pg_dump's text in gzip members.
    #[serde(rename = "sql.gz")]
    SqlGz,
    /// pg_dump's text in Zstandard frames.
    #[serde(rename = "sql.zst")]
    SqlZst,
    /// pg_dump's text as it is.
    #[serde(rename = "sql")]
    Sql,
    /// pg_dump's own archive.
    #[serde(rename = "custom")]
    Custom,
    /// An SQLite database in gzip members.
    #[serde(rename = "sqlite.gz")]
    SqliteGz,
}

impl Format {
    /// Returns the word that scripts use.
    pub fn word(self) -> &'static str {
        match self {
            Format::SqlGz => "sql.gz",
            Format::SqlZst => "sql.zst",
            Format::Sql => "sql",
            Format::Custom => "custom",
            Format::SqliteGz => "sqlite.gz",
        }
    }

    /// Finds a format by its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::SqlGz, Self::SqlZst, Self::Sql, Self::Custom, Self::SqliteGz].into_iter().find(|f| f.word() == word)
    }

    /// Tells the format from a file's name.
    pub fn of_name(name: &str) -> Option<Self> {
        let endings = [
            (".sql.gz", Self::SqlGz),
            (".sql.zst", Self::SqlZst),
            (".sqlite.gz", Self::SqliteGz),
            (".db.gz", Self::SqliteGz),
            (".sql", Self::Sql),
            (".dump", Self::Custom),
            (".custom", Self::Custom),
            (".pgdump", Self::Custom),
        ];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }

    /// Returns the kind of database that such a backup is of.
    pub fn engine(self) -> Engine {
        if self == Format::SqliteGz { Engine::Sqlite } else { Engine::Postgres }
    }

    /// Returns whether the content is pg_dump's text.
    pub fn is_text(self) -> bool {
        matches!(self, Format::SqlGz | Format::SqlZst | Format::Sql)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format number of the manifest.
    pub format: u32,
    /// The program that wrote it, with its version.
    pub tool: String,
    /// The kind of database.
    pub engine: Engine,
    /// How the file is packed.
    pub kind: Format,
    /// The file's name, without a folder.
    pub file: String,
    /// The file's bytes.
    pub size: u64,
    /// The SHA-256 of the file in hexadecimal digits.
    pub sha256: String,
    /// The bytes of the content before packing.
    pub raw_size: u64,
    /// When the dump began.
    pub started_at: Timestamp,
    /// The moment whose state the backup holds: that of the snapshot.
    pub taken_at: Timestamp,
    /// When the file was whole.
    pub finished_at: Timestamp,
    /// Where the content came from.
    pub source: Source,
    /// The programs that took part, with their versions.
    pub tools: BTreeMap<String, String>,
    /// The tables that were asked for; `None` is the whole database. A selection can never pass as a full backup.
    pub tables: Option<Vec<String>>,
    /// The columns whose values are masked, each with the way; neither values nor a key. A masked copy can never pass as a
    /// full backup.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, String>,
    /// The parts of the file that can be unpacked on their own, in order; empty where the format has none.
    pub members: Vec<Member>,
    /// What the database held.
    pub fingerprint: Fingerprint,
}

/// Where a backup came from. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The address as an operator would write it, without the password; for SQLite the path.
    pub address: String,
    /// The database's name.
    pub database: String,
    /// The server's version.
    pub version: String,
    /// The server's version as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_num: Option<u32>,
    /// The number of the cluster, where the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The database's encoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The database's collation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collate: Option<String>,
    /// The database's character classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctype: Option<String>,
    /// The WAL position of the snapshot or just before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_position: Option<String>,
}

/// A part of the file that can be unpacked on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes in the file.
    pub length: u64,
    /// Its bytes once unpacked.
    pub raw_length: u64,
    /// Which section of the dump it belongs to.
    pub section: Section,
    /// The table whose rows it holds, with its schema; `None` where it holds definitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Its line ends once unpacked. With them a restore need not unpack the rows to know in which line a definition stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

/// The sections of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Before the data: types, tables, functions.
    PreData,
    /// Rows, large objects and sequence states.
    Data,
    /// After the data: indexes, constraints, triggers, grants.
    PostData,
}

impl Manifest {
    /// Reads and checks the manifest at `path`. Nothing in it is believed that the types and [`Manifest::check`] do not
    /// hold.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_signed(path, &Trust::default()).map(|(manifest, _)| manifest)
    }

    /// Reads a manifest that one of these keys must have signed, and returns it with the key's name.
    pub fn read_signed(path: &Path, trust: &Trust) -> Result<(Self, Option<String>)> {
        let (file, facts) = files::open(path)?;
        let mut text = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(|e| Error::io("read", path, &e))?;
        if text.len() as u64 > LARGEST {
            let size = facts.len();
            return Err(damaged(path).caused_by(format!("it has {size} bytes; a manifest has {LARGEST} at most")));
        }
        let signed_by = if trust.is_empty() { None } else { Some(trust.signer_of(path, &text)?) };
        let manifest = Self::parse(&text).map_err(|e| damaged(path).caused_by_error(e))?;
        Ok((manifest, signed_by))
    }

    /// Reads and checks a manifest's text.
    pub fn parse(text: &[u8]) -> Result<Self> {
        /// Read first: another format may have other fields.
        #[derive(Deserialize)]
        struct Number {
            format: u64,
        }
        let wrong = |e: serde_json::Error| Error::new(Kind::Damaged, "it is not a manifest").because(&e);
        let Number { format } = serde_json::from_slice(text).map_err(wrong)?;
        if format != u64::from(FORMAT) {
            return Err(Error::new(Kind::Damaged, format!("its format is {format}, this version reads {FORMAT}"))
                .hint("use the version of runner that wrote the backup, or a newer one"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(wrong)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Returns the manifest as text.
    pub fn to_text(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(Kind::Bug, "could not write a manifest").because(&e))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Returns whether the backup holds the whole database as it was.
    pub fn is_whole(&self) -> bool {
        self.tables.is_none() && !self.is_masked()
    }

    /// Returns whether columns hold other values than the database did.
    pub fn is_masked(&self) -> bool {
        !self.masked.is_empty()
    }

    /// Says what is masked: `app.users.email (hash)`.
    pub fn masked_columns(&self) -> String {
        self.masked.iter().map(|(column, way)| format!("{column} ({way})")).collect::<Vec<_>>().join(", ")
    }

    /// Checks what the types cannot: the parts agree with each other.
    fn check(&self) -> Result<()> {
        let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        let wrong = match () {
            () if !is_basename(&self.file) => "its file is not a plain name".to_owned(),
            () if !hex(&self.sha256, 64) => "its sha256 is not one".to_owned(),
            () if self.kind.engine() != self.engine || self.fingerprint.engine != self.engine => {
                format!("it speaks of {} and of a {} file", self.engine, self.kind)
            }
            () if self.started_at > self.finished_at => "it ended before it began".to_owned(),
            () => return self.check_members(),
        };
        Err(Error::new(Kind::Damaged, wrong))
    }

    /// Members lie one behind the other and make up the whole file.
    fn check_members(&self) -> Result<()> {
        if self.members.is_empty() {
            return Ok(());
        }
        let gap = || Error::new(Kind::Damaged, "its members do not make up the file");
        let (mut at, mut raw) = (0u64, 0u64);
        for member in &self.members {
            if member.offset != at {
                return Err(gap());
            }
            // So that they never add up to more than the bytes do.
            if member.lines.is_some_and(|lines| lines > member.raw_length) {
                return Err(Error::new(Kind::Damaged, "a member has more lines than bytes"));
            }
            at = at.checked_add(member.length).ok_or_else(gap)?;
            raw = raw.checked_add(member.raw_length).ok_or_else(gap)?;
        }
        if (at, raw) == (self.size, self.raw_size) { Ok(()) } else { Err(gap()) }
    }
}

fn damaged(path: &Path) -> Error {
    Error::new(Kind::Damaged, format!("could not use the manifest {}", path.display())).on(path.display().to_string())
}

/// Returns whether `name` names a file in the same folder and nothing else.
fn is_basename(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::backups) fn sample() -> Manifest {
        let time: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        Manifest {
            format: FORMAT,
            tool: "runner 0.1.0".into(),
            engine: Engine::Postgres,
            kind: Format::SqlGz,
            file: "orders.sql.gz".into(),
            size: 4,
            sha256: "0".repeat(64),
            raw_size: 10,
            started_at: time,
            taken_at: time,
            finished_at: time,
            source: Source::default(),
            tools: BTreeMap::new(),
            tables: None,
            masked: BTreeMap::new(),
            members: vec![Member {
                offset: 0,
                length: 4,
                raw_length: 10,
                section: Section::PreData,
                table: None,
                lines: None,
            }],
            fingerprint: Fingerprint::new(Engine::Postgres),
        }
    }

    fn refusal(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut value = serde_json::to_value(sample()).unwrap();
        change(&mut value);
        Manifest::parse(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_reads_back() {
        let text = sample().to_text().unwrap();
        assert!(std::str::from_utf8(&text).unwrap().contains("\"taken_at\": \"2026-11-20T09:00:00Z\""));
        assert_eq!(Manifest::parse(&text).unwrap(), sample());
    }

    #[test]
    fn what_could_mislead_is_refused() {
        assert!(refusal(|m| m["format"] = 2.into()).contains("its format is 2"));
        for name in ["../orders.sql.gz", "/etc/passwd", "", "..", "a/b"] {
            assert!(refusal(|m| m["file"] = name.into()).contains("not a plain name"), "{name}");
        }
        assert!(refusal(|m| m["size"] = (-1).into()).contains("invalid value"));
        assert!(refusal(|m| m["members"][0]["length"] = 3.into()).contains("do not make up the file"));
        assert!(refusal(|m| m["members"][0]["length"] = u64::MAX.into()).contains("do not make up the file"));
        assert!(refusal(|m| m["members"][0]["lines"] = 11.into()).contains("more lines than bytes"));
        assert!(refusal(|m| m["surprise"] = 1.into()).contains("unknown field"));
        assert!(refusal(|m| m["kind"] = "sqlite.gz".into()).contains("it speaks of PostgreSQL"));
    }

    #[test]
    fn a_device_in_its_place_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(Manifest::read(&path).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn a_hostile_depth_is_an_error_and_no_crash() {
        let text = format!("{{\"format\":1,\"tool\":{}", "[".repeat(200_000));
        assert!(Manifest::parse(text.as_bytes()).is_err());
    }
}
