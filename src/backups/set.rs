//! A backup set: a folder of components with `metadata.json`, and what can be said about it without reading it whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::tree::Tree;
use crate::error::{Error, Kind, Result};
use crate::files::checksums::{self, CHECKSUM_FILE, Verdict};
use crate::files::digest::Digest;
use crate::files::{atomic, listing, shown};
use crate::progress::Progress;
use crate::signing::{Signer, Trust, signature_path};

/// How the names of whole sets begin.
pub const SET_PREFIX: &str = "system_backup_";
/// How the names of sets begin in which a component failed.
pub const FAILED_PREFIX: &str = "failed_system_backup_";
/// What a set holds.
pub(super) const METADATA_FILE: &str = "metadata.json";
/// What the last verification found.
pub(super) const VERIFIED_FILE: &str = "verified.json";
/// Why a set stays for ever.
pub(super) const PIN_FILE: &str = "pinned.txt";
/// The version of the format; the written one and every one that is read begins with the same number.
pub(super) const VERSION: &str = "2.1";

/// Clocks of two machines differ by less than this.
const SKEW_SECONDS: i64 = 300;

/// `metadata.json`. Unknown keys are kept out, not refused: other tools write this format, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// When the backup began. Older tools wrote local time without a zone; it is read as UTC.
    pub timestamp: String,
    /// The version of the format.
    pub version: String,
    /// The set's name.
    pub backup_name: String,
    /// Where it was made; it may have moved since.
    pub backup_path: String,
    /// The program that wrote it.
    #[serde(default)]
    pub tool: String,
    /// The components by name.
    pub components: BTreeMap<String, Component>,
    /// All components together.
    pub total_size_mb: f64,
    /// All components together, exact.
    #[serde(default)]
    pub total_size: u64,
    /// The SHA-256 of `checksums.txt`, which lists every file.
    #[serde(default)]
    pub checksums_sha256: String,
    /// What failed; a whole set has none.
    pub validation_errors: Vec<String>,
}

/// One component: a file or a folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// The file's name, where the component is one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// How many files a folder holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Its size.
    pub size_mb: f64,
    /// Its size in bytes, with what lies beside a file.
    #[serde(default)]
    pub size: u64,
    /// The SHA-256 of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// How much the database held, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_size: Option<String>,
    /// Where a folder was written; it may have moved since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_dir: Option<String>,
    /// Where it lies in the set.
    #[serde(default)]
    pub path: String,
}

/// What the last verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// Whether everything held.
    pub passed: bool,
    /// What was done, in one line.
    pub how: String,
}

/// What a set counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is whole as far as its metadata tell.
    Whole,
    /// A component failed when it was made.
    Failed(String),
    /// It is dated in the future, so its age means nothing.
    Future,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A set that was opened: its metadata are read, its files are not.
#[derive(Debug, Clone)]
pub struct BackupSet {
    /// The folder.
    pub folder: PathBuf,
    /// The folder's name.
    pub name: String,
    /// What it counts for.
    pub standing: Standing,
    /// What it holds; `None` where it cannot be read.
    pub metadata: Option<Metadata>,
    /// When it was taken, by its metadata or else by its name.
    pub taken_at: Option<Timestamp>,
    /// The last verification.
    pub verified: Option<Verified>,
    /// Why it stays for ever.
    pub pinned: Option<String>,
}

impl BackupSet {
    /// Opens the set in `folder`. What is wrong with it is its standing, not an error: a list must show it.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self> {
        listing::folder(folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut set = Self {
            folder: folder.to_owned(),
            taken_at: time_of_name(&name),
            name,
            standing: Standing::Whole,
            metadata: None,
            verified: None,
            pinned: None,
        };
        let pin = folder.join(PIN_FILE);
        if pin.symlink_metadata().is_ok() {
            // A pin that cannot be read still pins.
            set.pinned = Some(listing::read_text(&pin).unwrap_or_default().trim().to_owned());
        }
        match set.read_metadata() {
            Ok(metadata) => {
                set.taken_at = parse_time(&metadata.timestamp);
                set.standing = standing(&metadata, set.taken_at, now);
                set.verified = read_json(&folder.join(VERIFIED_FILE)).ok();
                set.metadata = Some(metadata);
            }
            Err(why) => set.standing = Standing::Unreadable(why),
        }
        Ok(set)
    }

    fn read_metadata(&self) -> Result<Metadata, String> {
        let metadata: Metadata = read_json(&self.folder.join(METADATA_FILE)).map_err(|e| e.to_string())?;
        if !metadata.version.starts_with("2.") {
            return Err(format!("its format is {}, this version reads 2.x", metadata.version));
        }
        if parse_time(&metadata.timestamp).is_none() {
            return Err(format!("its timestamp {:?} is no time", metadata.timestamp));
        }
        if metadata.backup_name != self.name {
            return Err(format!("its metadata are those of {:?}", metadata.backup_name));
        }
        for (name, component) in &metadata.components {
            let path = self.inside(component, name).map_err(|e| e.to_string())?;
            if path.symlink_metadata().is_err() {
                return Err(format!("its component {name} is missing: {}", shown(&path)));
            }
        }
        Ok(metadata)
    }

    /// Returns whether the set may be restored from and counted on.
    pub fn is_good(&self) -> bool {
        self.standing == Standing::Whole
    }

    /// Returns whether the last verification passed.
    pub fn is_verified(&self) -> bool {
        self.is_good() && self.verified.as_ref().is_some_and(|v| v.passed)
    }

    /// Returns the metadata, or the error of a set that cannot be read.
    pub fn need_metadata(&self) -> Result<&Metadata> {
        self.metadata.as_ref().ok_or_else(|| {
            let why = match &self.standing {
                Standing::Unreadable(why) => why.clone(),
                _ => "it has no metadata".into(),
            };
            damaged(&self.name, &why)
        })
    }

    /// Returns a component.
    pub fn component(&self, name: &str) -> Result<&Component> {
        let metadata = self.need_metadata()?;
        metadata.components.get(name).ok_or_else(|| {
            let known: Vec<_> = metadata.components.keys().map(String::as_str).collect();
            Error::new(Kind::Missing, format!("{} has no component {name}", self.name))
                .on(self.name.clone())
                .hint(format!("it has {}", known.join(", ")))
        })
    }

    /// Returns where a component lies.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        self.inside(self.component(name)?, name)
    }

    /// A set of another tool tells where a component lies by its file's name, or has the folder of its name.
    fn inside(&self, component: &Component, name: &str) -> Result<PathBuf> {
        let relative = match (&component.path, &component.filename) {
            (path, _) if !path.is_empty() => path.clone(),
            (_, Some(file)) if name.starts_with("docker_volume_") => format!("docker_volumes/{file}"),
            (_, Some(file)) => file.clone(),
            _ => name.to_owned(),
        };
        let safe = crate::files::safe_path::inside(relative.as_bytes());
        let safe =
            safe.map_err(|why| damaged(&self.name, &format!("its component {name} lies at {relative:?}: {why}")))?;
        Ok(self.folder.join(safe))
    }

    /// Restores a folder of the set to `to`, every file compared with its checksum; see [`super::restore_tree`].
    pub fn restore_folder(
        &self,
        name: &str,
        to: &Path,
        replaced: Option<&Path>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<Tree> {
        let from = self.path(name)?;
        listing::folder(&from)?;
        let list = self.folder.join(CHECKSUM_FILE);
        let wanted = &self.need_metadata()?.checksums_sha256;
        if Digest::of_file(&list, &Progress::default(), cancel)?.to_string() != *wanted {
            return Err(damaged(&self.name, &format!("{CHECKSUM_FILE} is not the one that {METADATA_FILE} speaks of")));
        }
        let inside = from.strip_prefix(&self.folder).unwrap_or(&from);
        let listed = checksums::lines(&list)?.into_iter();
        let expected = listed.filter_map(|(path, digest)| Some((path.strip_prefix(inside).ok()?.to_owned(), digest)));
        super::restore_tree(&from, to, &expected.collect(), replaced, progress, cancel)
    }

    /// Returns the bytes of the set, by its metadata or else by what is in the folder.
    pub fn size(&self) -> u64 {
        match &self.metadata {
            Some(m) if m.total_size > 0 => m.total_size,
            Some(m) => (m.total_size_mb.max(0.0) * 1e6) as u64,
            None => folder_size(&self.folder),
        }
    }

    /// Signs the metadata, which name the list of all files.
    pub fn sign(&self, signer: &Signer) -> Result<()> {
        let path = self.folder.join(METADATA_FILE);
        signer.sign(&path, listing::read_text(&path)?.as_bytes())
    }

    /// Returns the trusted key that signed the set.
    ///
    /// # Errors
    /// `Damaged` when none of them did, or when the metadata are not those that the set was opened with.
    pub fn signed_by(&self, trust: &Trust) -> Result<String> {
        let path = self.folder.join(METADATA_FILE);
        let text = listing::read_text(&path)?;
        let signer = trust.signer_of(&path, text.as_bytes())?;
        match serde_json::from_str::<Metadata>(&text) {
            Ok(read) if Some(&read) == self.metadata.as_ref() => Ok(signer),
            _ => Err(damaged(&self.name, &format!("{METADATA_FILE} changed since it was read"))),
        }
    }

    /// Reads every file of the set against its checksum and size, and returns what is wrong. A set without a list of
    /// checksums proves nothing, so that is wrong, too.
    pub fn verify(&self, progress: &Progress, cancel: &CancellationToken) -> Result<(u64, Vec<String>)> {
        let metadata = self.need_metadata()?;
        let mut wrong = metadata.validation_errors.clone();
        let list = self.folder.join(CHECKSUM_FILE);
        if metadata.checksums_sha256.is_empty() || listing::size(&list).is_err() {
            wrong.push(format!("{CHECKSUM_FILE} is missing, so nothing can be proven"));
            return Ok((0, wrong));
        }
        progress.set_total(metadata.total_size);
        if Digest::of_file(&list, &Progress::default(), cancel)?.to_string() != metadata.checksums_sha256 {
            wrong.push(format!("{CHECKSUM_FILE} is not the one that {METADATA_FILE} speaks of"));
        }
        let seen = checksums::verify_checksums(&list, progress, cancel)?;
        for file in &seen.files {
            match &file.verdict {
                Verdict::Ok => {}
                Verdict::Missing => wrong.push(format!("{} is missing", shown(&file.path))),
                Verdict::Differs { why } => wrong.push(format!("{}: {why}", shown(&file.path))),
                Verdict::Changed { .. } => wrong.push(format!("{} does not match its checksum", shown(&file.path))),
                Verdict::Unreadable { why } => wrong.push(format!("{} cannot be read: {why}", shown(&file.path))),
            }
        }
        let (mut links, mut parts) = (Vec::new(), Vec::new());
        for (name, component) in &metadata.components {
            self.verify_component(name, component, &mut links, &mut parts)?;
        }
        let signature = signature_path(Path::new(METADATA_FILE));
        let ours = [METADATA_FILE, VERIFIED_FILE, PIN_FILE].map(Path::new);
        let ours = [&ours[..], &[&signature]].concat();
        let extra = seen.extra.iter().filter(|path| !ours.contains(&path.as_path()) && !links.contains(path));
        wrong.extend(extra.map(|path| format!("{} is not listed in {CHECKSUM_FILE}", shown(path))));
        wrong.append(&mut parts);
        Ok((seen.files.len() as u64, wrong))
    }

    /// Checks what no list of checksums holds: sizes and links.
    fn verify_component(
        &self,
        name: &str,
        component: &Component,
        links: &mut Vec<PathBuf>,
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        let path = self.inside(component, name)?;
        if path.is_dir()
            && let Some(tree) = Tree::beside(&path)?
        {
            links.extend(tree.links.keys().map(|link| Path::new(&component.path).join(link)));
            wrong.extend(tree.changed_links(&path)?.into_iter().map(|link| format!("{name}/{link}")));
        }
        let size = size_at(&path);
        if component.size > 0 && size != component.size {
            wrong.push(format!("{name} has {size} bytes, {METADATA_FILE} says {}", component.size));
        }
        Ok(())
    }

    /// Writes down what a verification found; the last one counts.
    pub fn note_verified(&self, verified: &Verified) -> Result<()> {
        write_json(&self.folder.join(VERIFIED_FILE), verified)
    }

    /// Keeps the set for ever, and says why.
    pub fn pin(&self, why: &str) -> Result<()> {
        atomic::write(&self.folder.join(PIN_FILE), format!("{why}\n").as_bytes())
    }

    /// Lets retention judge the set again.
    pub fn unpin(&self) -> Result<bool> {
        listing::remove(&self.folder.join(PIN_FILE), false)
    }
}

fn standing(metadata: &Metadata, taken_at: Option<Timestamp>, now: Timestamp) -> Standing {
    if let Some(first) = metadata.validation_errors.first() {
        return Standing::Failed(first.clone());
    }
    if metadata.backup_name.starts_with(FAILED_PREFIX) {
        return Standing::Failed("it is named as failed".into());
    }
    if metadata.components.is_empty() {
        return Standing::Unreadable("it has no components".into());
    }
    match taken_at {
        Some(at) if at.as_second() > now.as_second() + SKEW_SECONDS => Standing::Future,
        _ => Standing::Whole,
    }
}

/// Reads `2025-10-10T10:30:00Z`, and as UTC the same without a zone.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}

/// Reads the time in `system_backup_20251010_103000`.
fn time_of_name(name: &str) -> Option<Timestamp> {
    let digits = name.strip_prefix(SET_PREFIX).or_else(|| name.strip_prefix(FAILED_PREFIX))?;
    let time = DateTime::strptime("%Y%m%d_%H%M%S", digits.get(..15)?).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Returns the bytes of a file with its checksum and manifest, or of all files below a folder.
pub(super) fn size_at(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(facts) if facts.is_dir() => folder_size(path),
        Ok(facts) => {
            let beside = [super::manifest_path(path), super::checksum_path(path)];
            facts.len() + beside.iter().filter_map(|p| p.symlink_metadata().ok()).map(|f| f.len()).sum::<u64>()
        }
        Err(_) => 0,
    }
}

fn folder_size(folder: &Path) -> u64 {
    let mut bytes = 0;
    // What cannot be read counts nothing; whoever verifies the set is told.
    let _ = crate::files::walk::walk(folder, &mut |entry| {
        if entry.kind == crate::files::walk::Kind::File {
            bytes += entry.facts.len();
        }
        Ok(true)
    });
    bytes
}

pub(super) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = listing::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|e| Error::new(Kind::Damaged, format!("could not use {}", shown(path))).on(shown(path)).because(&e))
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::new(Kind::Bug, format!("could not write {}", shown(path))).because(&e))?;
    text.push(b'\n');
    atomic::write(path, &text)
}

fn damaged(name: &str, why: &str) -> Error {
    Error::new(Kind::Damaged, format!("could not use the backup set {name}"))
        .on(name)
        .caused_by(why)
        .hint("`runner list_backups` shows the sets that can be used")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_another_tool_in_the_same_format_opens() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("system_backup_20251010_103000");
        std::fs::create_dir_all(folder.join("docker_volumes")).unwrap();
        std::fs::write(folder.join("database_20251010_103000.sql.gz"), b"x").unwrap();
        std::fs::write(folder.join("docker_volumes/redis.tar.gz"), b"x").unwrap();
        let text = r#"{"timestamp":"2025-10-10T10:30:00","version":"2.0","backup_name":"system_backup_20251010_103000",
            "backup_path":"/b","components":{"database":{"filename":"database_20251010_103000.sql.gz","size_mb":45.2,
            "checksum":"ab","database_size":"45 MB"},"docker_volume_redis":{"filename":"redis.tar.gz","size_mb":1.0}},
            "total_size_mb":93.04,"validation_errors":[]}"#;
        std::fs::write(folder.join(METADATA_FILE), text).unwrap();
        let set = BackupSet::open(&folder, Timestamp::now()).unwrap();
        assert!(set.is_good() && !set.is_verified(), "{set:?}");
        assert_eq!(set.taken_at, Some("2025-10-10T10:30:00Z".parse().unwrap()));
        assert_eq!(set.path("docker_volume_redis").unwrap(), folder.join("docker_volumes/redis.tar.gz"));
        let (_, wrong) = set.verify(&Progress::default(), &CancellationToken::new()).unwrap();
        assert!(wrong[0].contains("nothing can be proven"), "{wrong:?}");
        let early = BackupSet::open(&folder, "2025-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(early.standing, Standing::Future);
        std::fs::write(folder.join(METADATA_FILE), text.replace("redis.tar.gz", "../../passwd")).unwrap();
        let hostile = BackupSet::open(&folder, Timestamp::now()).unwrap();
        assert!(matches!(&hostile.standing, Standing::Unreadable(why) if why.contains("passwd")), "{hostile:?}");
    }
}
