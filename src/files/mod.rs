//! Files: what is written is whole before it has its name, and what is read is checked to its end.

pub mod archive;
pub mod atomic;
pub mod checksums;
pub mod digest;
pub mod extract;
pub mod glob;
pub mod held;
mod holes;
pub(crate) mod in_order;
pub mod inventory;
pub mod listing;
pub mod member_writer;
pub mod members;
pub mod merge;
pub mod parts;
pub mod read_archived;
pub(crate) mod safe_path;
pub mod shred;
mod tar_reader;
pub mod tar_stream;
pub mod temp_folder;
pub mod unfinished;
mod unpacking;
pub(crate) mod walk;

use std::fs::{File, Metadata};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::secret;

/// The size of the blocks in which files are read and written.
pub(crate) const BLOCK: usize = 1 << 20;

/// Opens a regular file for reading. A pipe or a device in its place is refused, and opening it does not block.
pub fn open(path: &Path) -> Result<(File, Metadata)> {
    open_with(path, OFlag::O_NONBLOCK)
}

/// Opens a regular file that must not be a symbolic link.
pub(crate) fn open_no_link(path: &Path) -> Result<(File, Metadata)> {
    open_with(path, OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW)
}

fn open_with(path: &Path, flags: OFlag) -> Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(flags.bits()).open(path).map_err(|e| {
        let absent = Error::io("open", path, &e);
        if absent.kind() == Kind::Missing {
            absent.hint("check the path; it is relative to the work folder")
        } else {
            absent
        }
    })?;
    let facts = file.metadata().map_err(|e| Error::io("read", path, &e))?;
    if !facts.is_file() {
        let name = shown(path);
        return Err(Error::new(Kind::Refused, format!("{name} is not a regular file")).on(name));
    }
    Ok((file, facts))
}

/// Fails once the run was asked to stop.
pub(crate) fn go_on(cancel: &CancellationToken, doing: &str) -> Result<()> {
    if cancel.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, format!("{doing} was interrupted")));
    }
    Ok(())
}

/// Returns a path as text that cannot drive a terminal.
pub(crate) fn shown(path: &Path) -> String {
    secret::printable(&path.to_string_lossy(), false).into_owned()
}

/// Returns the path with `suffix` behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
