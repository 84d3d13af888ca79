//! Atomic files: nothing exists under its final name until it is whole and on the disk.

use std::fs::{File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::{Builder, NamedTempFile};

use crate::error::{Error, Kind, Result};

/// How the names of files that are not whole yet begin.
pub const PARTIAL_PREFIX: &str = ".partial-";

/// Returns how the names of this process's own files begin while they are not whole: the prefix and a random word, by
/// which they are found when the process was killed.
pub fn partial_prefix() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| {
        // The keys of a fresh hasher are random; a word for one process needs no more.
        let word = RandomState::new().build_hasher().finish();
        format!("{PARTIAL_PREFIX}{word:016x}-")
    })
}

/// A file that gets its name when [`AtomicFile::commit`] says that it is whole. Dropped before, it never was.
pub struct AtomicFile {
    file: NamedTempFile,
    to: PathBuf,
    replace: bool,
}

impl AtomicFile {
    /// Starts a new file that will be called `to`; refuses when there is one already.
    pub fn create(to: &Path) -> Result<Self> {
        if to.symlink_metadata().is_ok() {
            return Err(Error::new(Kind::Refused, format!("{} exists already", to.display()))
                .on(to.display().to_string())
                .hint("choose another name or move the old file away; a backup is never overwritten"));
        }
        Self::start(to, false)
    }

    /// Starts a file that will take the place of `to`.
    pub fn replace(to: &Path) -> Result<Self> {
        Self::start(to, true)
    }

    fn start(to: &Path, replace: bool) -> Result<Self> {
        let folder = parent(to);
        create_folder(folder)?;
        let file = Builder::new()
            .prefix(partial_prefix())
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .map_err(|e| Error::io("create a file in", folder, &e))?;
        Ok(Self { file, to: to.to_owned(), replace })
    }

    /// Returns the file to write to, for instance from another thread.
    pub fn file(&self) -> Result<File> {
        self.file.as_file().try_clone().map_err(|e| Error::io("write", &self.to, &e))
    }

    /// Returns the folder that it lies in.
    pub fn folder(&self) -> &Path {
        parent(&self.to)
    }

    /// Returns the temporary path while the file is not whole.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Says that the file is whole: flushes it to the disk, then gives it its name.
    pub fn commit(self) -> Result<()> {
        let Self { file, to, replace } = self;
        file.as_file().sync_all().map_err(|e| Error::io("flush", &to, &e))?;
        let named = if replace { file.persist(&to) } else { file.persist_noclobber(&to) };
        named.map_err(|e| Error::io("name", &to, &e.error))?;
        sync_folder(parent(&to))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a small file in one go, in the place of an old one.
pub fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::replace(to)?;
    file.write_all(bytes).map_err(|e| Error::io("write", to, &e))?;
    file.commit()
}

/// Creates a folder and its parents, for us alone.
pub fn create_folder(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| Error::io("create", folder, &e))
}

/// Flushes a folder, so that a new name survives a power cut.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("flush", folder, &e))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_no_name_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("sub/dump.sql.gz");
        let mut file = AtomicFile::create(&to).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!to.exists());
        file.commit().unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"half");
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(to.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(AtomicFile::create(&folder.path().join("x")).unwrap());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn an_old_backup_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("x");
        std::fs::write(&to, b"old").unwrap();
        assert_eq!(AtomicFile::create(&to).err().unwrap().kind(), Kind::Refused);
        let late = folder.path().join("late");
        let file = AtomicFile::create(&late).unwrap();
        std::fs::write(&late, b"old").unwrap();
        assert!(file.commit().is_err(), "a file that came up meanwhile stays");
        assert_eq!(std::fs::read(&late).unwrap(), b"old");
    }
}
