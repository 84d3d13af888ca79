//! Archiving: a folder becomes one `.tar.gz`, its inventory and its checksum, in one pass over the files.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};
use tokio_util::sync::CancellationToken;

use super::atomic::AtomicFile;
use super::digest::{Digest, Hasher};
use super::glob::Glob;
use super::inventory::{ArchiveFacts, Entry, EntryKind, Name, Writer, inventory_path};
use super::member_writer::{MemberWriter, Written};
use super::parts::{Parts, Place, excludes};
use super::safe_path::{folded, link_stays};
use super::walk::{self, walk};
use super::{checksums, go_on, open_no_link, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// The most cautions that are listed; a folder of a million links needs no million lines.
const CAUTIONS: usize = 100;

/// What [`archive`] made.
#[derive(Debug, Clone)]
pub struct Archived {
    /// The archive.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
    /// How many bytes it holds.
    pub size: u64,
    /// How many bytes the files held.
    pub raw_size: u64,
    /// How many entries it holds.
    pub entries: u64,
    /// What an operator should know: what was left out, and what `extract` refuses unless it is told to take it.
    pub cautions: Vec<String>,
}

/// What [`archive`] takes of a folder, and how.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The files and folders to take, each by its path below the folder; everything when there is none.
    pub parts: Vec<String>,
    /// What is left out: a pattern without a slash counts in every folder, and what is in an excluded folder is excluded.
    pub exclude: Vec<Glob>,
}

/// Packs what is wanted of `folder` into `to`, with `to.manifest.json` and `to.sha256`.
///
/// The order is that of the names' bytes, so equal folders make equal archives. Modes, times, owners' numbers, symbolic
/// and hard links and empty folders are kept; sockets, pipes and devices are left out and named.
pub fn archive(
    folder: &Path,
    to: &Path,
    wanted: &Wanted,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Archived> {
    let parts = Parts::of(folder, &wanted.parts, &wanted.exclude)?;
    parts.below(folder).iter().try_for_each(|part| refuse_inside(part, to))?;
    let file = AtomicFile::create(to)?;
    let inventory = Writer::start(to)?;
    let mut packing = Packing {
        tar: Builder::new(MemberWriter::new(file)),
        to,
        inventory,
        links: HashMap::new(),
        twins: HashMap::new(),
        cautions: Vec::new(),
        raw_size: 0,
        progress,
        cancel,
    };
    let mut found = Vec::new();
    walk(folder, &mut |entry| {
        let place = parts.place(entry.relative);
        if place == Place::Outside || wanted.exclude.iter().any(|glob| excludes(glob, entry.relative)) {
            return Ok(false);
        }
        go_on(cancel, &format!("archiving {}", shown(folder)))?;
        if parts.is_one(entry.relative) && entry.kind != walk::Kind::Other {
            found.push(entry.relative.to_owned());
        }
        packing.entry(&entry)?;
        Ok(true)
    })?;
    match parts.not_in(&found).first() {
        None => packing.finish(),
        Some(lost) => Err(Error::new(Kind::Io, format!("{lost} could not be archived"))
            .on(lost.as_str())
            .caused_by("it went away meanwhile, or is a socket, pipe or device")),
    }
}

/// Refuses an archive that would come to hold itself.
fn refuse_inside(folder: &Path, to: &Path) -> Result<()> {
    let root = folder.canonicalize().map_err(|e| Error::io("read", folder, &e))?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let nearest = parent.ancestors().find_map(|p| p.canonicalize().ok()).unwrap_or_else(|| PathBuf::from("/"));
    if nearest.starts_with(&root) {
        return Err(Error::new(Kind::Refused, format!("{} lies in the folder that it would hold", shown(to)))
            .on(shown(to))
            .hint("write the archive to another folder"));
    }
    Ok(())
}

struct Packing<'a> {
    tar: Builder<MemberWriter<AtomicFile>>,
    to: &'a Path,
    inventory: Writer,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    /// The folded names of the folder that is being read.
    twins: HashMap<PathBuf, HashMap<String, PathBuf>>,
    cautions: Vec<String>,
    raw_size: u64,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Packing<'_> {
    fn entry(&mut self, entry: &walk::Entry<'_>) -> Result<()> {
        self.look_for_twins(entry.relative);
        match entry.kind {
            walk::Kind::Folder => self.folder(entry),
            walk::Kind::Link => self.link(entry),
            walk::Kind::Other => {
                self.caution(format!("{} is a socket, pipe or device and was left out", shown(entry.relative)));
                Ok(())
            }
            walk::Kind::File if entry.facts.nlink() > 1 => {
                let id = (entry.facts.dev(), entry.facts.ino());
                match self.links.get(&id).cloned() {
                    Some(first) => self.hard_link(entry, &first),
                    None => {
                        self.links.insert(id, entry.relative.to_owned());
                        self.file(entry)
                    }
                }
            }
            walk::Kind::File => self.file(entry),
        }
    }

    fn folder(&mut self, entry: &walk::Entry<'_>) -> Result<()> {
        let mut header = header(entry.facts, EntryType::Directory, 0);
        self.append(&mut header, entry.relative, &mut io::empty())?;
        self.list(entry, EntryKind::Folder, 0, None, None)
    }

    fn link(&mut self, entry: &walk::Entry<'_>) -> Result<()> {
        let target = std::fs::read_link(entry.path).map_err(|e| Error::io("read", entry.path, &e))?;
        if !link_stays(entry.relative, &target) {
            let (link, target) = (shown(entry.relative), shown(&target));
            self.caution(format!(
                "the link {link} leads to {target}, out of the folder: extract must be told to keep it"
            ));
        }
        let mut header = header(entry.facts, EntryType::Symlink, 0);
        self.set_target(&mut header, &target)?;
        self.append(&mut header, entry.relative, &mut io::empty())?;
        self.list(entry, EntryKind::Link, 0, None, Some(target))
    }

    fn hard_link(&mut self, entry: &walk::Entry<'_>, first: &Path) -> Result<()> {
        let mut header = header(entry.facts, EntryType::Link, 0);
        self.set_target(&mut header, first)?;
        self.append(&mut header, entry.relative, &mut io::empty())?;
        self.list(entry, EntryKind::HardLink, 0, None, Some(first.to_owned()))
    }

    fn file(&mut self, entry: &walk::Entry<'_>) -> Result<()> {
        let (file, before) = open_no_link(entry.path)?;
        let size = before.len();
        if before.mode() & 0o6000 != 0 {
            self.caution(format!("{} is setuid or setgid: extract takes that away", shown(entry.relative)));
        }
        let mut header = header(&before, EntryType::Regular, size);
        let (progress, cancel) = (self.progress, self.cancel);
        let mut content = Content { file, left: size, is_short: false, hasher: Hasher::default(), progress, cancel };
        let written = self.append(&mut header, entry.relative, &mut content);
        go_on(cancel, &format!("archiving {}", shown(entry.path)))?;
        // Where the archive cannot be written further, the file is not read to its end, either: that is no change of it.
        if !content.is_short {
            written?;
        }
        if content.is_short || !is_unchanged(&content.file, &before) {
            return Err(changed(entry.path));
        }
        self.raw_size += size;
        let digest = content.hasher.finish();
        self.list(entry, EntryKind::File, size, Some(digest), None)
    }

    fn append(&mut self, header: &mut Header, path: &Path, content: &mut dyn Read) -> Result<()> {
        self.tar.append_data(header, path, content).map_err(|e| Error::io("write", self.to, &e))
    }

    /// Sets a link's target to its very bytes; a long one goes into a record of its own, as GNU tar does.
    fn set_target(&mut self, header: &mut Header, target: &Path) -> Result<()> {
        let bytes = target.as_os_str().as_bytes();
        if bytes.len() <= header.as_old().linkname.len() {
            return header.set_link_name_literal(bytes).map_err(|e| Error::io("write", self.to, &e));
        }
        let mut long = Header::new_gnu();
        long.set_entry_type(EntryType::GNULongLink);
        long.set_mode(0o644);
        long.set_size(bytes.len() as u64 + 1);
        let name = b"././@LongLink";
        long.as_mut_bytes()[..name.len()].copy_from_slice(name);
        long.set_cksum();
        let content = bytes.chain(&[0u8][..]);
        self.tar.append(&long, content).map_err(|e| Error::io("write", self.to, &e))
    }

    fn list(
        &mut self,
        entry: &walk::Entry<'_>,
        kind: EntryKind,
        size: u64,
        sha256: Option<Digest>,
        target: Option<PathBuf>,
    ) -> Result<()> {
        let mode = format!("{:04o}", entry.facts.mode() & 0o777);
        let path = Name(entry.relative.to_owned());
        self.inventory.add(&Entry { path, kind, mode, size, sha256, target: target.map(Name) })
    }

    /// Names of one folder come one after the other, so only the folders above are remembered.
    fn look_for_twins(&mut self, path: &Path) {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        self.twins.retain(|folder, _| parent.starts_with(folder));
        let names = self.twins.entry(parent.to_owned()).or_default();
        if let Some(twin) = names.insert(folded(Path::new(name)), path.to_owned()) {
            let (a, b) = (shown(&twin), shown(path));
            self.caution(format!("{a} and {b} are one name on other systems: extract must be told to keep both"));
        }
    }

    fn caution(&mut self, text: String) {
        if self.cautions.len() < CAUTIONS {
            self.cautions.push(text);
        } else if self.cautions.len() == CAUTIONS {
            self.cautions.push("and more".into());
        }
    }

    fn finish(self) -> Result<Archived> {
        let Self { tar, to, inventory, cautions, raw_size, .. } = self;
        let written = tar.into_inner().and_then(MemberWriter::finish);
        let Written { inner: file, sha256, size, .. } = written.map_err(|e| Error::io("write", to, &e))?;
        let entries = inventory.entries();
        let name = Name(to.file_name().unwrap_or_default().into());
        let inventory = inventory.finish(&ArchiveFacts { name, size, sha256 })?;
        seal(to, sha256, inventory, file)?;
        Ok(Archived { path: to.to_owned(), sha256, size, raw_size, entries, cautions })
    }
}

/// Names the checksum, the inventory and, last, the archive: whoever finds it finds the other two.
pub(super) fn seal(to: &Path, sha256: Digest, inventory: AtomicFile, file: AtomicFile) -> Result<()> {
    checksums::write_sidecar(to, sha256)?;
    let taken_back = |error, paths: &[PathBuf]| {
        for path in paths {
            let _ = std::fs::remove_file(path); // a left-over sidecar of no archive misleads nobody
        }
        error
    };
    let (checksum, list) = (checksums::sidecar(to), inventory_path(to));
    inventory.commit().map_err(|e| taken_back(e, std::slice::from_ref(&checksum)))?;
    file.commit().map_err(|e| taken_back(e, &[checksum, list]))
}

fn header(facts: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(facts.mode() & 0o7777);
    header.set_uid(facts.uid().into());
    header.set_gid(facts.gid().into());
    header.set_mtime(facts.mtime().max(0).unsigned_abs());
    header.set_size(size);
    header
}

/// A file's bytes: exactly as many as it had when it was opened, digested on their way.
struct Content<'a> {
    file: File,
    left: u64,
    /// Whether it has fewer bytes now.
    is_short: bool,
    hasher: Hasher,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read(&mut into[..most])?;
        if n == 0 && self.left > 0 {
            self.is_short = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        self.hasher.update(&into[..n]);
        self.progress.add(n as u64);
        Ok(n)
    }
}

/// Returns whether a file is still what it was when it was opened. A write that keeps the size shows in the time.
fn is_unchanged(file: &File, before: &Metadata) -> bool {
    file.metadata().is_ok_and(|now| {
        (now.len(), now.mtime(), now.mtime_nsec()) == (before.len(), before.mtime(), before.mtime_nsec())
    })
}

fn changed(path: &Path) -> Error {
    Error::new(Kind::Io, format!("{} was written to while it was archived", shown(path)))
        .on(shown(path))
        .hint("stop its writer, exclude the file, or archive a snapshot; a database is backed up with dump")
        .retryable()
}
