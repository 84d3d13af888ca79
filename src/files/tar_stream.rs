//! Tar streams that come from elsewhere: packed byte for byte while they pass, and checked before they go back.
//!
//! Unlike a folder's archive such a stream keeps owners and special bits, because a program unpacks it that may set
//! them. Its tree digest covers both, so that what was unpacked can be read again and compared.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::archive::{Archived, seal};
use super::atomic::AtomicFile;
use super::digest::{Digest, Hasher};
use super::extract::{Limits, check_digest};
use super::inventory::{ArchiveFacts, Entry, EntryKind, Inventory, Name, Writer};
use super::member_writer::{MemberWriter, Written};
use super::safe_path::inside;
use super::tar_reader::{Head, TarReader};
use super::unpacking::Unpacking;
use super::{BLOCK, checksums, go_on, open, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// Volumes may be as large as the disk, and hold nothing but zeros.
const LIMITS: Limits = Limits { bytes: u64::MAX, ratio: 1_100, entries: 50_000_000, outward_links: true, twins: true };

/// What a stream held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// A digest of every entry: path, kind, permissions with the special bits, owner, time, target and content.
    pub digest: Digest,
    /// How many entries there are below the root.
    pub entries: u64,
    /// How many bytes the files hold.
    pub bytes: u64,
}

/// Packs a tar stream into `to`, with its inventory and checksum. Every path in it starts with `root`.
pub fn pack(
    stream: impl Read,
    root: &str,
    to: &Path,
    origin: impl FnOnce(&Tree) -> Value,
    cancel: &CancellationToken,
) -> Result<(Archived, Tree)> {
    let file = AtomicFile::create(to)?;
    let mut inventory = Writer::start(to)?;
    let packing = MemberWriter::new(file);
    let mut cautions = Vec::new();
    let mut reading = Reading::new(TarReader::new(Tee { from: stream, into: packing }, to), root, to, cancel);
    while let Some(seen) = reading.next()? {
        match seen {
            Seen::Listed(entry) => inventory.add(&entry)?,
            Seen::Special(path) => {
                cautions.push(format!("{} is a pipe: it is kept, and the inventory does not list it", shown(&path)));
            }
        }
    }
    let (tee, tree) = reading.finish();
    let written = tee.into.finish().map_err(|e| Error::io("write", to, &e))?;
    let Written { inner: file, sha256, size, .. } = written;
    inventory.set_origin(origin(&tree));
    let name = Name(to.file_name().unwrap_or_default().into());
    let inventory = inventory.finish(&ArchiveFacts { name, size, sha256 })?;
    seal(to, sha256, inventory, file)?;
    let (raw_size, entries) = (tree.bytes, tree.entries);
    Ok((Archived { path: to.to_owned(), sha256, size, raw_size, entries, cautions }, tree))
}

/// An archive of a stream that was read to its end and found whole.
pub struct Checked {
    path: PathBuf,
    sha256: Digest,
    /// What it holds.
    pub tree: Tree,
    /// What its inventory says it was made from.
    pub origin: Option<Value>,
}

/// Reads an archive to its end: checksum, inventory, and every name in it, before anything is done with it.
pub fn check(archive: &Path, root: &str, progress: &Progress, cancel: &CancellationToken) -> Result<Checked> {
    let (file, facts) = open(archive)?;
    progress.set_total(2 * facts.len()); // it is read again when it is sent
    let sidecar = match checksums::read_sidecar(archive) {
        Ok(digest) => Some(digest),
        Err(e) if e.kind() == Kind::Missing => None,
        Err(e) => return Err(e),
    };
    let mut inventory = Inventory::beside(archive)?;
    let unpacking = Unpacking::start(file, archive, &LIMITS, progress, cancel)?;
    let mut reading = Reading::new(TarReader::new(unpacking, archive), root, archive, cancel);
    while let Some(seen) = reading.next()? {
        if let (Seen::Listed(entry), Some(inventory)) = (seen, &mut inventory) {
            inventory.check(&entry)?;
        }
    }
    let (unpacking, tree) = reading.finish();
    let sha256 = unpacking.finish()?;
    check_digest(archive, sha256, sidecar, inventory.as_ref().map(|i| i.archive.sha256))?;
    let origin = inventory.as_mut().and_then(|i| i.origin.take());
    inventory.map_or(Ok(()), Inventory::complete)?;
    Ok(Checked { path: archive.to_owned(), sha256, tree, origin })
}

/// Reads a stream to its end and returns what it holds.
pub fn survey(stream: impl Read, root: &str, name: &Path, cancel: &CancellationToken) -> Result<Tree> {
    let mut reading = Reading::new(TarReader::new(stream, name), root, name, cancel);
    while reading.next()?.is_some() {}
    Ok(reading.finish().1)
}

impl Checked {
    /// Unpacks the archive once more and hands its tar stream over in blocks. It must still be the file that was read.
    pub fn send(
        &self,
        progress: &Progress,
        cancel: &CancellationToken,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (file, _) = open(&self.path)?;
        let mut unpacking = Unpacking::start(file, &self.path, &LIMITS, progress, cancel)?;
        let mut block = vec![0; BLOCK];
        loop {
            match unpacking.read(&mut block) {
                Ok(0) => break,
                Ok(n) => take(&block[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", &self.path, &e)),
            }
        }
        match unpacking.finish()? == self.sha256 {
            true => Ok(()),
            false => {
                let name = shown(&self.path);
                Err(Error::new(Kind::Damaged, format!("{name} was changed while it was restored")).on(name))
            }
        }
    }
}

/// What one entry turned out to be.
enum Seen {
    /// Something that an inventory lists.
    Listed(Entry),
    /// A pipe, by its path.
    Special(PathBuf),
}

/// Reads the entries of a stream one by one and refuses those that a volume cannot lawfully hold.
struct Reading<'a, R> {
    tar: TarReader<'a, R>,
    root: &'a Path,
    archive: &'a Path,
    cancel: &'a CancellationToken,
    /// Digests of the names so far, and of those that nothing can lie below.
    names: HashSet<Digest>,
    ends: HashSet<Digest>,
    tree: Hasher,
    entries: u64,
    bytes: u64,
}

impl<'a, R: Read> Reading<'a, R> {
    fn new(tar: TarReader<'a, R>, root: &'a str, archive: &'a Path, cancel: &'a CancellationToken) -> Self {
        let (names, ends) = Default::default();
        Self { tar, root: Path::new(root), archive, cancel, names, ends, tree: Hasher::default(), entries: 0, bytes: 0 }
    }

    fn next(&mut self) -> Result<Option<Seen>> {
        go_on(self.cancel, &format!("reading {}", shown(self.archive)))?;
        let Some(head) = self.tar.next()? else { return Ok(None) };
        let path = self.place(&head)?;
        let (kind, content, target) = match head.kind {
            EntryType::Regular => (Some(EntryKind::File), Some(self.content()?), None),
            EntryType::Directory => (Some(EntryKind::Folder), None, None),
            EntryType::Symlink => (Some(EntryKind::Link), None, Some(bytes_path(&head.target))),
            EntryType::Link => (Some(EntryKind::HardLink), None, Some(self.inside(&head.target)?)),
            EntryType::Fifo => (None, None, None),
            _ => return Err(self.refused(&head.path, "it is a device or of an unknown kind")),
        };
        if kind != Some(EntryKind::File) && head.size != 0 {
            return Err(self.refused(&head.path, "only a file can have content"));
        }
        self.note(&head, &path, content, target.as_deref());
        let Some(kind) = kind else { return Ok(Some(Seen::Special(path))) };
        let mode = format!("{:04o}", head.mode & 0o777);
        let (size, target) = (head.size, target.map(Name));
        Ok(Some(Seen::Listed(Entry { path: Name(path), kind, mode, size, sha256: content, target })))
    }

    /// Returns where an entry goes, and refuses a name that comes twice or leads through a link.
    fn place(&mut self, head: &Head) -> Result<PathBuf> {
        let path = self.inside(&head.path)?;
        let name = |path: &Path| Digest::of(path.as_os_str().as_encoded_bytes());
        if path.ancestors().skip(1).any(|above| self.ends.contains(&name(above))) {
            return Err(self.refused(&head.path, "its path leads through a link or a file"));
        }
        if !self.names.insert(name(&path)) {
            return Err(self.refused(&head.path, "it is in the archive twice"));
        }
        if path == self.root {
            return match head.kind {
                EntryType::Directory => Ok(path),
                _ => Err(self.refused(&head.path, "it stands for the volume itself")),
            };
        }
        if head.kind != EntryType::Directory {
            self.ends.insert(name(&path));
        }
        self.entries += 1;
        Ok(path)
    }

    fn inside(&self, name: &[u8]) -> Result<PathBuf> {
        let path = inside(name).map_err(|why| self.refused(name, why))?;
        if path.starts_with(self.root) { Ok(path) } else { Err(self.refused(name, "it lies outside of the volume")) }
    }

    fn content(&mut self) -> Result<Digest> {
        let mut hasher = Hasher::default();
        let mut block = vec![0; 128 << 10];
        loop {
            match self.tar.read(&mut block)? {
                0 => break,
                n => hasher.update(&block[..n]),
            }
            go_on(self.cancel, &format!("reading {}", shown(self.archive)))?;
        }
        self.bytes += hasher.bytes();
        Ok(hasher.finish())
    }

    /// Adds an entry to the tree's digest. Lengths come first, so that no two trees write the same bytes.
    fn note(&mut self, head: &Head, path: &Path, content: Option<Digest>, target: Option<&Path>) {
        let (path, target) =
            (path.as_os_str().as_encoded_bytes(), target.map_or(&[][..], |t| t.as_os_str().as_encoded_bytes()));
        let facts = format!(
            "{} {} {:?} {:o} {} {} {} {}\n",
            path.len(),
            target.len(),
            head.kind,
            head.mode & 0o7777,
            head.owner.0,
            head.owner.1,
            head.modified,
            content.map(|digest| digest.to_string()).unwrap_or_default(),
        );
        [facts.as_bytes(), path, target].iter().for_each(|part| self.tree.update(part));
    }

    fn finish(self) -> (R, Tree) {
        let tree = Tree { digest: self.tree.finish(), entries: self.entries, bytes: self.bytes };
        (self.tar.into_inner(), tree)
    }

    fn refused(&self, name: &[u8], why: &str) -> Error {
        let (name, archive) = (shown(&bytes_path(name)), shown(self.archive));
        Error::new(Kind::Refused, format!("the entry \"{name}\" of {archive} is refused")).on(archive).caused_by(why)
    }
}

fn bytes_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// Reads from one side and writes all of it to the other.
struct Tee<R, W> {
    from: R,
    into: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(block)?;
        self.into.write_all(&block[..n])?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, EntryType, &'a str, u32, u64);

    fn tar(rows: &[Row<'_>]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, text, mode, owner) in rows {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_uid(*owner);
            header.set_gid(5);
            header.set_mtime(7);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name_literal(text).unwrap();
                header.set_size(0);
                header.set_cksum();
                tar.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(text.len() as u64);
                header.set_cksum();
                tar.append(&header, text.as_bytes()).unwrap();
            }
        }
        tar.into_inner().unwrap()
    }

    const GOOD: [Row<'static>; 5] = [
        ("volume/", EntryType::Directory, "", 0o2750, 70),
        ("volume/a", EntryType::Regular, "content", 0o4755, 70),
        ("volume/b", EntryType::Link, "volume/a", 0o4755, 70),
        ("volume/l", EntryType::Symlink, "/etc/passwd", 0o777, 0),
        ("volume/p", EntryType::Fifo, "", 0o600, 0),
    ];

    fn packed(rows: &[Row<'_>]) -> (tempfile::TempDir, PathBuf, Result<(Archived, Tree)>) {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("v.tar.gz");
        let origin = |_: &Tree| serde_json::json!({ "volume": "v" });
        let done = pack(tar(rows).as_slice(), "volume", &to, origin, &CancellationToken::new());
        (folder, to, done)
    }

    fn checked(path: &Path) -> Result<Checked> {
        check(path, "volume", &Progress::default(), &CancellationToken::new())
    }

    #[test]
    fn a_stream_comes_back_byte_for_byte() {
        let (_folder, to, done) = packed(&GOOD);
        let (made, tree) = done.unwrap();
        assert_eq!((made.entries, made.raw_size, made.cautions.len()), (4, 7, 1));
        let checked = checked(&to).unwrap();
        assert_eq!((&checked.tree, checked.origin.as_ref().unwrap()["volume"].as_str()), (&tree, Some("v")));
        let mut sent = Vec::new();
        let take = |block: &[u8]| {
            sent.extend_from_slice(block);
            Ok(())
        };
        checked.send(&Progress::default(), &CancellationToken::new(), take).unwrap();
        assert_eq!(sent, tar(&GOOD));
    }

    #[test]
    fn another_owner_mode_target_or_content_is_another_tree() {
        let tree = |rows: &[Row<'_>]| {
            survey(tar(rows).as_slice(), "volume", Path::new("v"), &CancellationToken::new()).unwrap().digest
        };
        let changes: [fn(&mut [Row<'static>; 5]); 5] = [
            |rows| rows[0].3 = 0o0750,
            |rows| rows[1].2 = "CONTENT",
            |rows| rows[1].4 = 71,
            |rows| rows[1].3 = 0o755,
            |rows| rows[3].2 = "/etc/shadow",
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut rows = GOOD;
            change(&mut rows);
            assert_ne!(tree(&rows), tree(&GOOD), "change {n}");
        }
    }

    #[test]
    fn names_that_leave_the_volume_and_devices_are_refused() {
        for row in [
            ("etc/x", EntryType::Regular, "", 0o644, 0),
            ("volume/../x", EntryType::Regular, "", 0o644, 0),
            ("/volume/x", EntryType::Regular, "", 0o644, 0),
            ("volume/l/x", EntryType::Regular, "", 0o644, 0),
            ("volume/a", EntryType::Regular, "", 0o644, 0),
            ("volume/h", EntryType::Link, "../etc/x", 0o644, 0),
            ("volume/d", EntryType::Block, "", 0o644, 0),
            ("volume", EntryType::Symlink, "/", 0o777, 0),
        ] {
            let rows: Vec<_> = GOOD.iter().copied().chain([row]).collect();
            let (folder, _, done) = packed(&rows);
            assert_eq!(done.err().unwrap().kind(), Kind::Refused, "{row:?}");
            assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{row:?}");
        }
    }

    #[test]
    fn a_stream_that_just_stops_leaves_no_archive_and_a_flipped_byte_is_found() {
        let whole = tar(&GOOD);
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("v.tar.gz");
        let cut = pack(&whole[..whole.len() - 1024], "volume", &to, |_| Value::Null, &CancellationToken::new());
        assert_eq!(cut.err().unwrap().kind(), Kind::Damaged);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let (_folder, to, done) = packed(&GOOD);
        done.unwrap();
        let mut bytes = std::fs::read(&to).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&to, bytes).unwrap();
        assert_eq!(checked(&to).err().unwrap().kind(), Kind::Damaged);
    }
}
