//! One backup: a file, its manifest and its checksum, which get their names together or not at all.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::manifest::{Format, Manifest};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::signing::Trust;

/// A backup that was opened: its manifest is read, its content is not.
#[derive(Debug, Clone)]
pub struct Backup {
    path: PathBuf,
    format: Format,
    manifest: Option<Box<Manifest>>,
    signed_by: Option<String>,
}

/// Returns where the manifest of the backup at `path` lies.
pub fn manifest_path(path: &Path) -> PathBuf {
    beside(path, ".manifest.json")
}

/// Returns where the checksum of the backup at `path` lies.
pub fn checksum_path(path: &Path) -> PathBuf {
    beside(path, ".sha256")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

impl Backup {
    /// Opens the backup at `path`. A dump of another tool has no manifest: it can be restored, but there is nothing to
    /// compare the result with.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_signed(path, &Trust::default())
    }

    /// Opens a backup whose manifest one of these keys must have signed; without keys anybody's.
    ///
    /// The manifest names the file's SHA-256, so that who signed the one signed the other.
    pub fn open_signed(path: &Path, trust: &Trust) -> Result<Self> {
        let facts = path.metadata().map_err(|e| Error::io("open the backup", path, &e))?;
        if !facts.is_file() {
            return Err(refused(path, "it is not a file"));
        }
        let beside = manifest_path(path);
        let (manifest, signed_by) = match beside.symlink_metadata() {
            Ok(_) => {
                let (manifest, signed_by) = Manifest::read_signed(&beside, trust)?;
                (Some(Box::new(manifest)), signed_by)
            }
            Err(_) if trust.is_empty() => (None, None),
            Err(_) => return Err(refused(path, "it has no manifest, so nobody can have signed it")),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let format = match &manifest {
            Some(manifest) => {
                agree(path, &name, facts.len(), manifest)?;
                manifest.kind
            }
            None => Format::of_name(&name).ok_or_else(|| {
                refused(path, "it has no manifest and its name does not tell its format")
                    .hint("names end in .sql, .sql.gz, .sql.zst, .dump or .sqlite.gz")
            })?,
        };
        Ok(Self { path: path.to_owned(), format, manifest, signed_by })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how the content is packed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the manifest; a dump of another tool has none.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_deref()
    }

    /// Returns the trusted key that signed it, where keys were named.
    pub fn signed_by(&self) -> Option<&str> {
        self.signed_by.as_deref()
    }

    /// Returns the manifest, or an error that says what cannot be done without one.
    pub fn need_manifest(&self, to: &str) -> Result<&Manifest> {
        self.manifest().ok_or_else(|| {
            Error::new(Kind::Missing, format!("could not {to}: {} has no manifest", self.path.display()))
                .on(self.path.display().to_string())
                .hint("only backups made by runner's dump know what they hold")
        })
    }

    /// Returns how many rows of a table the backup holds.
    pub fn rows(&self, table: &str) -> Result<u64> {
        let manifest = self.need_manifest("count rows")?;
        manifest.fingerprint.table(table).map(|t| t.rows).ok_or_else(|| {
            let known = manifest.fingerprint.tables.keys().map(String::as_str);
            let near = known.max_by(|a, b| strsim::jaro_winkler(a, table).total_cmp(&strsim::jaro_winkler(b, table)));
            let error = Error::new(Kind::Missing, format!("{} holds no table {table}", self.path.display()))
                .on(self.path.display().to_string());
            match near {
                Some(near) => {
                    error.hint(format!("did you mean {near}? Where several schemas have it, write schema.table"))
                }
                None => error,
            }
        })
    }

    /// Returns the moment whose state the backup holds, where its manifest tells.
    pub fn taken_at(&self) -> Option<Timestamp> {
        self.manifest().map(|m| m.taken_at)
    }
}

/// The cheap checks, so that yesterday's manifest never speaks for today's file.
fn agree(path: &Path, name: &str, size: u64, manifest: &Manifest) -> Result<()> {
    if manifest.file != name {
        return Err(refused(path, &format!("its manifest is of {}", manifest.file)));
    }
    if manifest.size != size {
        return Err(refused(path, &format!("it has {size} bytes, its manifest says {}", manifest.size)));
    }
    Ok(())
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(Kind::Damaged, format!("could not open the backup {}", path.display()))
        .on(path.display().to_string())
        .caused_by(why)
}

/// Gives a backup its name, after its checksum and its manifest got theirs.
///
/// The file comes last because its name is the promise: whoever finds it finds the other two. All three refuse a name
/// that is taken, so that of two runs with one name the second cannot replace the first one's manifest; what this call
/// named before it failed, it takes away again.
pub fn seal(file: AtomicFile, to: &Path, manifest: &Manifest) -> Result<Backup> {
    let checksum = format!("{}  {}\n", manifest.sha256, manifest.file);
    let sidecars = [(checksum_path(to), checksum.into_bytes()), (manifest_path(to), manifest.to_text()?)];
    let mut named = Named(Vec::new());
    for (path, bytes) in sidecars {
        let mut sidecar = AtomicFile::create(&path)?;
        sidecar.write_all(&bytes).map_err(|e| Error::io("write", &path, &e))?;
        sidecar.commit()?;
        named.0.push(path);
    }
    file.commit()?;
    named.0.clear();
    Backup::open(to)
}

/// Names that are taken back unless the backup became whole.
struct Named(Vec<PathBuf>);

impl Drop for Named {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path); // a left-over sidecar is refused by name, never believed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backups::manifest::tests::sample;

    fn sealed(folder: &Path) -> Result<Backup> {
        let to = folder.join("orders.sql.gz");
        let mut file = AtomicFile::create(&to)?;
        file.write_all(b"1234").unwrap();
        seal(file, &to, &sample())
    }

    #[test]
    fn a_sealed_backup_opens_and_has_a_checksum_for_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let backup = sealed(folder.path()).unwrap();
        assert_eq!(backup.format(), Format::SqlGz);
        assert!(backup.rows("users").is_err());
        let checksum = std::fs::read_to_string(checksum_path(backup.path())).unwrap();
        assert_eq!(checksum, format!("{}  orders.sql.gz\n", "0".repeat(64)));
    }

    #[test]
    fn a_second_backup_of_the_same_name_leaves_the_first_alone() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("orders.sql.gz");
        let mut late = AtomicFile::create(&to).unwrap();
        late.write_all(b"late").unwrap();
        sealed(folder.path()).unwrap();
        let before = std::fs::read(manifest_path(&to)).unwrap();
        assert!(seal(late, &to, &sample()).is_err());
        assert_eq!(std::fs::read(manifest_path(&to)).unwrap(), before);
        assert_eq!(std::fs::read(&to).unwrap(), b"1234");
    }

    #[test]
    fn a_file_that_could_not_be_named_leaves_no_sidecars() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("orders.sql.gz");
        let file = AtomicFile::create(&to).unwrap();
        std::fs::write(&to, b"other").unwrap();
        assert!(seal(file, &to, &sample()).is_err());
        assert!(!manifest_path(&to).exists() && !checksum_path(&to).exists());
    }

    #[test]
    fn another_days_file_under_this_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let backup = sealed(folder.path()).unwrap();
        std::fs::write(backup.path(), b"12345").unwrap();
        let error = Backup::open(backup.path()).unwrap_err().to_string();
        assert!(error.contains("it has 5 bytes, its manifest says 4"), "{error}");
    }

    #[test]
    fn a_dump_of_another_tool_opens_without_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sql.gz");
        std::fs::write(&path, b"").unwrap();
        let backup = Backup::open(&path).unwrap();
        assert!(backup.manifest().is_none() && backup.taken_at().is_none());
        assert!(backup.rows("t").unwrap_err().to_string().contains("has no manifest"));
    }
}
