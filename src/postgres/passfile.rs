//! The way a libpq program learns a password: a file for us alone in a folder for us alone, gone with the program.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// A passfile; dropping it removes it.
pub(super) struct Passfile {
    /// Held for its drop.
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Passfile {
    /// Writes a file that holds one password for every server: the program is given one address only.
    pub(super) fn write(password: &Secret) -> Result<Self> {
        let unwritable = |e: &std::io::Error| Error::new(Kind::Io, "could not write a passfile").because(e);
        if password.expose().contains(['\n', '\r', '\0']) {
            return Err(Error::new(Kind::Usage, "the password holds a line break, which no passfile can"));
        }
        let folder = tempfile::Builder::new()
            .prefix("runner-")
            .permissions(Permissions::from_mode(0o700)) // without it the umask decides
            .tempdir()
            .map_err(|e| unwritable(&e))?;
        let path = folder.path().join("pass");
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|e| unwritable(&e))?;
        let escaped = Secret::new(password.expose().replace('\\', "\\\\").replace(':', "\\:"));
        file.write_all(b"*:*:*:*:")
            .and_then(|()| file.write_all(escaped.expose().as_bytes()))
            .and_then(|()| file.write_all(b"\n"))
            .map_err(|e| unwritable(&e))?;
        Ok(Self { _folder: folder, path })
    }

    /// Returns where it is, for PGPASSFILE.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passfile_is_for_us_alone_and_goes() {
        let passfile = Passfile::write(&Secret::new("a:b\\c")).unwrap();
        let path = passfile.path().to_owned();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(passfile);
        assert!(!path.exists());
    }
}
