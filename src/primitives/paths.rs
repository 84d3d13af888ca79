//! Paths that a call gives: a script's text for a real run, and for a dry run perhaps one that nobody knows yet.

use std::path::{Path, PathBuf};

use super::Call;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::script::Unknown;

impl Call<'_> {
    /// Returns a path. A relative one starts in the working folder.
    pub fn path(&self, at: usize) -> Result<PathBuf> {
        let text = self.text(at)?;
        if text.is_empty() || text.contains('\0') { Err(self.wrong(at, "a path")) } else { Ok(text.into()) }
    }

    /// Returns whether a dry run cannot know an argument.
    pub fn is_unknown(&self, at: usize) -> bool {
        let value = self.any(at);
        Unknown::is_in(&value) || Unknown::is_written_in(&value)
    }

    /// Returns whether an argument is the path, or a pattern for paths, of something that an announced effect changes.
    pub fn is_changed(&self, at: usize) -> bool {
        let Ok(text) = self.text(at) else { return false };
        let fixed = text.split(['*', '?', '[', '{']).next().unwrap_or_default();
        let root = if fixed.len() == text.len() { fixed } else { fixed.rsplit_once('/').map_or(".", |(root, _)| root) };
        self.host().is_changed(Path::new(root))
    }

    /// Returns a path that a dry run may look at: none where only a real run knows it, or what is there by then.
    pub fn present_path(&self, at: usize) -> Result<Option<PathBuf>> {
        if self.is_unknown(at) {
            return Ok(None);
        }
        let path = self.path(at)?;
        Ok((!self.is_changed(at)).then_some(path))
    }

    /// Says that the announced effect changes what is at a path.
    pub fn announce_change(&self, at: usize) -> Result<()> {
        if !self.is_unknown(at) {
            self.host().announce_change(&self.path(at)?);
        }
        Ok(())
    }
}

/// Refuses a path at which something lies: a backup is never overwritten.
pub(super) fn refuse_taken(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let name = files::shown(path);
    Err(Error::new(Kind::Refused, format!("{name} exists already"))
        .on(name)
        .hint("choose another name or move the old file away; a backup is never overwritten"))
}

/// Returns a path as a script's text. One that is not UTF-8 would name another file there.
pub(super) fn path_text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let name = files::shown(path);
        Error::new(Kind::Refused, format!("the name {name} is not UTF-8, so a script cannot hold it"))
            .on(name)
            .hint("rename the file, or archive the folder that holds it: archives keep such names")
    })
}
