//! Shredding: the content of files is overwritten before they go, as far as the file system lets anybody do that.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use tokio_util::sync::CancellationToken;

use super::{BLOCK, go_on, shown, walk};
use crate::error::{Error, Kind, Result};

/// Refuses what shares its content with other names, which would lose it, too.
pub fn may_go(path: &Path) -> Result<()> {
    let facts = path.symlink_metadata().map_err(|e| Error::io("overwrite", path, &e))?;
    match () {
        () if facts.is_file() => refuse_other_names(path),
        () if facts.is_dir() => walk::walk(path, &mut |entry| match entry.kind {
            walk::Kind::File => refuse_other_names(entry.path).map(|()| true),
            _ => Ok(true),
        }),
        () => Ok(()),
    }
}

/// Overwrites every file at or below a path with random bytes and waits until the disk has them. Links are left alone; what
/// has other names is refused before anything is written.
pub fn overwrite(path: &Path, cancel: &CancellationToken) -> Result<()> {
    let facts = match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        facts => facts.map_err(|e| Error::io("overwrite", path, &e))?,
    };
    if facts.is_file() {
        return file(path, cancel);
    }
    if !facts.is_dir() {
        return Ok(());
    }
    may_go(path)?;
    walk::walk(path, &mut |entry| match entry.kind {
        walk::Kind::File => file(entry.path, cancel).map(|()| true),
        _ => Ok(true),
    })
}

fn refuse_other_names(path: &Path) -> Result<()> {
    let facts = path.symlink_metadata().map_err(|e| Error::io("overwrite", path, &e))?;
    match facts.nlink() {
        0 | 1 => Ok(()),
        links => Err(Error::new(Kind::Refused, format!("{} is not overwritten", shown(path)))
            .on(shown(path))
            .caused_by(format!("it has {} other names, whose content would be lost", links - 1))
            .hint("remove it without shredding, or remove the other names first")),
    }
}

fn file(path: &Path, cancel: &CancellationToken) -> Result<()> {
    refuse_other_names(path)?;
    let wrong = |e: io::Error| Error::io("overwrite", path, &e);
    let mut target = OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path).map_err(wrong)?;
    let mut noise = File::open("/dev/urandom").map_err(|e| Error::io("read", Path::new("/dev/urandom"), &e))?;
    let mut left = target.metadata().map_err(wrong)?.len();
    let mut block = vec![0; BLOCK];
    while left > 0 {
        go_on(cancel, &format!("overwriting {}", shown(path)))?;
        let length = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        noise.read_exact(&mut block[..length]).map_err(|e| Error::io("read", Path::new("/dev/urandom"), &e))?;
        target.write_all(&block[..length]).map_err(wrong)?;
        left -= length as u64;
    }
    target.sync_all().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_on_disk_are_others_and_the_size_stays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let files = ["a.gz", "sub/b.gz"].map(|name| folder.path().join(name));
        for path in &files {
            std::fs::write(path, b"CANARY".repeat(300_000)).unwrap();
        }
        // The same file, seen without its name: what a disk would still give out.
        let mut kept = files.clone().map(|path| File::open(path).unwrap());
        overwrite(folder.path(), &CancellationToken::new()).unwrap();
        for file in &mut kept {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), 1_800_000);
            assert!(memchr::memmem::find(&bytes, b"CANARY").is_none());
        }
    }

    #[test]
    fn what_has_another_name_or_is_a_link_keeps_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, link) = (folder.path().join("one"), folder.path().join("two"), folder.path().join("link"));
        std::fs::write(&one, "content").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        overwrite(&link, &CancellationToken::new()).unwrap();
        std::fs::hard_link(&one, &two).unwrap();
        assert_eq!(overwrite(&one, &CancellationToken::new()).unwrap_err().kind(), Kind::Refused);
        assert_eq!(overwrite(folder.path(), &CancellationToken::new()).unwrap_err().kind(), Kind::Refused);
        assert_eq!(std::fs::read_to_string(&two).unwrap(), "content");
        overwrite(&folder.path().join("absent"), &CancellationToken::new()).unwrap();
    }
}
