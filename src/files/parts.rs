//! Parts: the files and folders of a folder that an archive is to hold, each named, each there.

use std::path::{Path, PathBuf};

use super::glob::Glob;
use super::safe_path::inside;
use super::shown;
use crate::error::{Error, Kind, Result};

/// Where an entry of the folder stands to the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It belongs to none of them.
    Outside,
    /// It is a folder on the way to one.
    Above,
    /// It is one of them, or in one.
    Within,
}

/// What an archive is to hold of a folder; everything when no part is named.
#[derive(Debug, Clone, Default)]
pub struct Parts(Vec<PathBuf>);

impl Parts {
    /// Takes the parts by their paths below `folder`.
    ///
    /// # Errors
    /// `Missing` with the names of all that are not there; `Refused` for a path that leaves the folder or leads through
    /// a link, and for one that `exclude` would leave out: either the list or the patterns are not what was meant.
    pub fn of(folder: &Path, names: &[String], exclude: &[Glob]) -> Result<Self> {
        let mut parts = Vec::new();
        for name in names {
            let path = inside(name.as_bytes()).map_err(|why| refused(name, why))?;
            if path.as_os_str().is_empty() {
                return Err(refused(name, "it is the folder itself"));
            }
            if path.ancestors().any(|p| exclude.iter().any(|glob| excludes(glob, p))) {
                return Err(refused(name, "it is named and excluded at once"));
            }
            if path.ancestors().skip(1).any(|p| !p.as_os_str().is_empty() && folder.join(p).is_symlink()) {
                return Err(refused(name, "its path leads through a link"));
            }
            parts.push(path);
        }
        let absent: Vec<_> = parts.iter().filter(|p| folder.join(p).symlink_metadata().is_err()).collect();
        if absent.is_empty() {
            return Ok(Self(parts));
        }
        let names = absent.iter().map(|p| shown(p)).collect::<Vec<_>>().join(", ");
        let verb = if absent.len() == 1 { "is" } else { "are" };
        Err(Error::new(Kind::Missing, format!("{names} {verb} not in {}", shown(folder)))
            .on(names)
            .hint("name what is there; nothing was written"))
    }

    /// Returns where an entry stands, by its path below the folder.
    pub(crate) fn place(&self, entry: &Path) -> Place {
        if self.0.is_empty() || self.0.iter().any(|part| entry.starts_with(part)) {
            return Place::Within;
        }
        if self.0.iter().any(|part| part.starts_with(entry)) { Place::Above } else { Place::Outside }
    }

    /// Returns the folders and files of `folder` that are archived.
    pub(crate) fn below(&self, folder: &Path) -> Vec<PathBuf> {
        if self.0.is_empty() { vec![folder.to_owned()] } else { self.0.iter().map(|part| folder.join(part)).collect() }
    }

    /// Returns the parts that none of the archived paths is.
    pub(crate) fn not_in(&self, archived: &[PathBuf]) -> Vec<String> {
        self.0.iter().filter(|part| !archived.contains(part)).map(|part| shown(part)).collect()
    }

    /// Returns whether an entry is a part itself.
    pub(crate) fn is_one(&self, entry: &Path) -> bool {
        self.0.iter().any(|part| part == entry)
    }
}

/// Returns whether a pattern leaves an entry out: by its path, or for a pattern without a slash by its name.
pub(crate) fn excludes(glob: &Glob, path: &Path) -> bool {
    glob.matches(path) || (glob.is_name() && path.file_name().is_some_and(|name| glob.matches(Path::new(name))))
}

fn refused(name: &str, why: &str) -> Error {
    let name = shown(Path::new(name));
    Error::new(Kind::Refused, format!("\"{name}\" cannot be a part of an archive")).on(name).caused_by(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(folder: &Path, names: &[&str], exclude: &[&str]) -> Result<Parts> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let exclude: Vec<_> = exclude.iter().map(|e| Glob::new(e).unwrap().with_hidden()).collect();
        Parts::of(folder, &names, &exclude)
    }

    #[test]
    fn an_entry_stands_above_within_or_outside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("api/sub")).unwrap();
        std::fs::write(folder.path().join("api/config.py"), "").unwrap();
        let parts = of(folder.path(), &["api/config.py", "./api/sub/"], &[]).unwrap();
        let place = |path: &str| parts.place(Path::new(path));
        assert_eq!(place("api"), Place::Above);
        assert_eq!((place("api/config.py"), place("api/sub/x")), (Place::Within, Place::Within));
        assert_eq!((place("api/config.pyc"), place("web")), (Place::Outside, Place::Outside));
        assert_eq!(Parts::default().place(Path::new("anything")), Place::Within);
    }

    #[test]
    fn what_is_absent_hostile_or_contradicts_itself_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/a"), "").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        let error = of(folder.path(), &["real/a", ".env", "x y"], &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::Missing);
        assert!(error.to_string().starts_with(".env, x y are not in"), "{error}");
        for hostile in ["../a", "/etc/passwd", "", ".", "link/a"] {
            assert_eq!(of(folder.path(), &[hostile], &[]).unwrap_err().kind(), Kind::Refused, "{hostile}");
        }
        assert_eq!(of(folder.path(), &["real/a"], &["real"]).unwrap_err().kind(), Kind::Refused);
        assert!(of(folder.path(), &["link"], &[]).is_ok(), "a link may be a part, what it leads to is not");
    }
}
