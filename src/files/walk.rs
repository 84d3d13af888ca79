//! Walking a folder: every entry below it in byte order, links never followed.

use std::fs::Metadata;
use std::path::Path;

use super::shown;
use crate::error::{Error, Kind as ErrorKind, Result};

/// Deeper than this is no folder that people made; paths of PATH_MAX bytes end before.
const DEPTH_LIMIT: usize = 1_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

impl Kind {
    fn of(facts: &Metadata) -> Self {
        match facts.file_type() {
            t if t.is_file() => Kind::File,
            t if t.is_dir() => Kind::Folder,
            t if t.is_symlink() => Kind::Link,
            _ => Kind::Other,
        }
    }
}

/// One entry of a folder.
pub(crate) struct Entry<'a> {
    /// Its path, with the folder in front.
    pub(crate) path: &'a Path,
    /// Its path below the folder.
    pub(crate) relative: &'a Path,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its own facts, not those of a link's target.
    pub(crate) facts: &'a Metadata,
}

/// Calls `visit` for every entry below `folder`, a folder before what is in it. `visit` returns whether to go into it.
pub(crate) fn walk(folder: &Path, visit: &mut dyn FnMut(Entry<'_>) -> Result<bool>) -> Result<()> {
    let facts = folder.metadata().map_err(|e| Error::io("read", folder, &e))?;
    if !facts.is_dir() {
        return Err(Error::new(ErrorKind::Usage, format!("{} is not a folder", shown(folder))).on(shown(folder)));
    }
    level(folder, folder, 0, visit)
}

fn level(root: &Path, folder: &Path, depth: usize, visit: &mut dyn FnMut(Entry<'_>) -> Result<bool>) -> Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(Error::new(ErrorKind::Refused, format!("{} lies too deep", shown(folder))).on(shown(folder)));
    }
    let failed = |e: &std::io::Error| Error::io("read", folder, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed(&e))? {
        names.push(entry.map_err(|e| failed(&e))?.file_name());
    }
    names.sort();
    for name in names {
        let path = folder.join(name);
        let facts = path.symlink_metadata().map_err(|e| Error::io("read", &path, &e))?;
        let kind = Kind::of(&facts);
        let relative = path.strip_prefix(root).expect("it was joined to the root");
        if visit(Entry { path: &path, relative, kind, facts: &facts })? && kind == Kind::Folder {
            level(root, &path, depth + 1, visit)?;
        }
    }
    Ok(())
}
