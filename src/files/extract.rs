//! Extracting an archive that is hostile until every entry was checked.
//!
//! Everything goes into a fresh folder beside the target that nobody else can enter, and gets the target's name when
//! the last byte was read. Nothing that fails leaves a trace, and nothing is ever written through a link.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::digest::{Digest, Hasher};
use super::holes::Holes;
use super::inventory::{Entry, EntryKind, Inventory, Name};
use super::merge::{Merged, merge};
use super::safe_path::{folded, inside, link_stays};
use super::tar_reader::{Head, TarReader};
use super::unpacking::Unpacking;
use super::{BLOCK, atomic, checksums, go_on, open, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// What an archive may do. The defaults are for one of unknown origin.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes it may unpack to. The free space of the disk is a limit as well.
    pub bytes: u64,
    /// The most bytes that one packed byte may unpack to; gzip reaches 1,029.
    pub ratio: u64,
    /// The most entries.
    pub entries: u64,
    /// Whether symbolic links may lead out of the folder. They are never followed here, but later users will.
    pub outward_links: bool,
    /// Whether names may differ only in case or Unicode form.
    pub twins: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 40, ratio: 250, entries: 1_000_000, outward_links: false, twins: false }
    }
}

/// What [`extract`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The folder.
    pub folder: PathBuf,
    /// How many entries it got.
    pub entries: u64,
    /// How many bytes its files hold.
    pub bytes: u64,
    /// Whether the whole archive and each entry were checked against the inventory beside it.
    pub verified: bool,
}

/// Extracts a `.tar` or `.tar.gz` into a folder that is new or empty.
///
/// Modes and times are kept; setuid, setgid and sticky bits, owners and attributes are not. Absolute paths, `..`, links
/// that leave, devices, pipes, duplicates and twins are refused, and then nothing is extracted at all.
pub fn extract(
    archive: &Path,
    into: &Path,
    limits: &Limits,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Extracted> {
    refuse_full(into)?;
    let parent = into.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (staging, extracted) = stage(archive, parent, limits, progress, cancel)?;
    name(staging, into)?;
    Ok(Extracted { folder: into.to_owned(), ..extracted })
}

/// Extracts into a folder that may hold other files, by the rules of [`extract`]: every entry is in place, or none is.
/// What is there with another content makes room when a `kept` is given, below which it goes, and is refused otherwise.
pub fn extract_over(
    archive: &Path,
    into: &Path,
    kept: Option<&Path>,
    limits: &Limits,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(Extracted, Merged)> {
    if refuse_full(into).is_ok() {
        return Ok((extract(archive, into, limits, progress, cancel)?, Merged::default()));
    }
    let facts = into.symlink_metadata().map_err(|e| Error::io("read", into, &e))?;
    if !facts.is_dir() {
        refuse_full(into)?; // says why
    }
    let (staging, extracted) = stage(archive, into, limits, progress, cancel)?;
    flush(staging.path(), into)?;
    let merged = merge(staging.path(), into, kept, cancel)?;
    flush(into, into)?;
    Ok((Extracted { folder: into.to_owned(), ..extracted }, merged))
}

/// Extracts into a fresh folder below `parent` that goes again when it is dropped.
fn stage(
    archive: &Path,
    parent: &Path,
    limits: &Limits,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(tempfile::TempDir, Extracted)> {
    let (file, facts) = open(archive)?;
    progress.set_total(facts.len());
    let sidecar = match checksums::read_sidecar(archive) {
        Ok(digest) => Some(digest),
        Err(e) if e.kind() == Kind::Missing => None,
        Err(e) => return Err(e),
    };
    let mut inventory = Inventory::beside(archive)?;
    atomic::create_folder(parent)?;
    let staging = tempfile::Builder::new()
        .prefix(atomic::partial_prefix())
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|e| Error::io("create a folder in", parent, &e))?;

    let limits = Limits { bytes: limits.bytes.min(free_space(staging.path())?), ..limits.clone() };
    let mut reader = TarReader::new(Unpacking::start(file, archive, &limits, progress, cancel)?, archive);
    let mut placing = Placing {
        root: staging.path(),
        archive,
        limits: &limits,
        seen: HashMap::new(),
        folders: Vec::new(),
        entries: 0,
        bytes: 0,
    };
    while let Some(head) = reader.next()? {
        go_on(cancel, &format!("extracting {}", shown(archive)))?;
        let placed = placing.place(head, &mut reader)?;
        if let (Some(entry), Some(inventory)) = (placed, &mut inventory) {
            inventory.check(&entry)?;
        }
    }
    let digest = reader.into_inner().finish()?;
    check_digest(archive, digest, sidecar, inventory.as_ref().map(|i| i.archive.sha256))?;
    let verified = inventory.is_some();
    if let Some(inventory) = inventory {
        inventory.complete()?;
    }
    let extracted =
        Extracted { folder: staging.path().to_owned(), entries: placing.entries, bytes: placing.bytes, verified };
    placing.finish_folders()?;
    Ok((staging, extracted))
}

/// Refuses a target that is anything but absent or an empty folder.
pub(crate) fn refuse_full(into: &Path) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::new(Kind::Refused, format!("could not extract into {}: {why}", shown(into)))
            .on(shown(into))
            .hint("name a folder that does not exist yet"))
    };
    match into.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("read", into, &e)),
        Ok(facts) if facts.is_symlink() => refused("it is a symbolic link"),
        Ok(facts) if !facts.is_dir() => refused("it is not a folder"),
        Ok(_) => match into.read_dir().map_err(|e| Error::io("read", into, &e))?.next() {
            None => Ok(()),
            Some(_) => refused("it is not empty"),
        },
    }
}

fn free_space(folder: &Path) -> Result<u64> {
    let facts = nix::sys::statvfs::statvfs(folder).map_err(|e| Error::io("read", folder, &e.into()))?;
    Ok(facts.blocks_available().saturating_mul(facts.fragment_size()))
}

pub(super) fn check_digest(
    archive: &Path,
    found: Digest,
    sidecar: Option<Digest>,
    inventory: Option<Digest>,
) -> Result<()> {
    for (expected, list) in [(sidecar, "checksum"), (inventory, "inventory")] {
        if expected.is_some_and(|expected| expected != found) {
            return Err(Error::new(
                Kind::Damaged,
                format!("{} is not the file that its {list} speaks of", shown(archive)),
            )
            .on(shown(archive))
            .hint("the file or the list beside it was changed or swapped; take another copy of the archive"));
        }
    }
    Ok(())
}

/// Gives the finished folder its name. A rename replaces an empty folder and nothing else.
fn name(staging: tempfile::TempDir, into: &Path) -> Result<()> {
    flush(staging.path(), into)?;
    std::fs::rename(staging.path(), into).map_err(|e| Error::io("name", into, &e))?;
    let _ = staging.keep(); // it has its name now
    atomic::sync_folder(into.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Flushes the disk that a folder lies on; errors speak of `named`.
fn flush(folder: &Path, named: &Path) -> Result<()> {
    let open = File::open(folder).map_err(|e| Error::io("flush", named, &e))?;
    nix::unistd::syncfs(&open).map_err(|e| Error::io("flush", named, &e.into()))
}

/// A name that was used, by the name it has where case and form do not count.
struct Seen {
    exact: Digest,
    /// Whether an entry said so, or only a path that leads through it.
    entered: bool,
}

/// The folder while it fills.
struct Placing<'a> {
    root: &'a Path,
    archive: &'a Path,
    limits: &'a Limits,
    seen: HashMap<Digest, Seen>,
    folders: Vec<(PathBuf, u32, u64)>,
    entries: u64,
    bytes: u64,
}

impl Placing<'_> {
    /// Makes one entry and returns what it turned out to be; nothing for the folder itself.
    fn place<R: Read>(&mut self, head: Head, content: &mut TarReader<'_, R>) -> Result<Option<Entry>> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.refused(&head.path, "the archive has more entries than the limit"));
        }
        let path = inside(&head.path).map_err(|why| self.refused(&head.path, why))?;
        if head.kind != EntryType::Regular && head.size != 0 {
            return Err(self.refused(&head.path, "only a file can have content"));
        }
        if path.as_os_str().is_empty() {
            self.entries -= 1;
            return match head.kind {
                EntryType::Directory => Ok(None),
                _ => Err(self.refused(&head.path, "it stands for the folder itself")),
            };
        }
        self.claim(&head.path, &path)?;
        self.make_parents(&head.path, &path)?;
        let (kind, sha256, target) = match head.kind {
            EntryType::Regular if head.path.ends_with(b"/") => {
                return Err(self.refused(&head.path, "it is a file with a folder's name"));
            }
            EntryType::Regular => (EntryKind::File, Some(self.file(&path, &head, content)?), None),
            EntryType::Directory => {
                self.folder(&path, &head)?;
                (EntryKind::Folder, None, None)
            }
            EntryType::Symlink => (EntryKind::Link, None, Some(self.link(&path, &head)?)),
            EntryType::Link => (EntryKind::HardLink, None, Some(self.hard_link(&path, &head)?)),
            kind => return Err(self.refused(&head.path, describe(kind))),
        };
        let mode = format!("{:04o}", head.mode & 0o777);
        Ok(Some(Entry { path: Name(path), kind, mode, size: head.size, sha256, target: target.map(Name) }))
    }

    /// Refuses a name that was used before, or that is one with another on other systems.
    fn claim(&mut self, name: &[u8], path: &Path) -> Result<()> {
        let mut parts: Vec<&Path> = path.ancestors().filter(|p| !p.as_os_str().is_empty()).collect();
        parts.reverse();
        for part in parts {
            let exact = Digest::of(part.as_os_str().as_bytes());
            let last = part == path;
            let seen = self.seen.entry(Digest::of(folded(part).as_bytes())).or_insert(Seen { exact, entered: false });
            if seen.exact != exact && !self.limits.twins {
                return Err(self.refused(name, "another entry has the same name but for case or Unicode form"));
            }
            if seen.exact == exact && last && std::mem::replace(&mut seen.entered, true) {
                return Err(self.refused(name, "it is in the archive twice"));
            }
        }
        Ok(())
    }

    /// Makes the folders above an entry, and refuses to go through anything else.
    fn make_parents(&self, name: &[u8], path: &Path) -> Result<()> {
        let mut whole = self.root.to_owned();
        for part in path.parent().unwrap_or(Path::new("")) {
            whole.push(part);
            match whole.symlink_metadata() {
                Ok(facts) if facts.is_dir() => {}
                Ok(_) => return Err(self.refused(name, "its path leads through a link or a file")),
                Err(e) if e.kind() == io::ErrorKind::NotFound => make_folder(&whole)?,
                Err(e) => return Err(Error::io("read", &whole, &e)),
            }
        }
        Ok(())
    }

    fn file<R: Read>(&mut self, path: &Path, head: &Head, content: &mut TarReader<'_, R>) -> Result<Digest> {
        let whole = self.root.join(path);
        let failed = |e: &io::Error| Error::io("write", path, e);
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&whole);
        let mut file = Holes::new(new.map_err(|e| self.taken(head, &e))?);
        let mut hasher = Hasher::default();
        let mut block = vec![0; head.size.min(BLOCK as u64) as usize]; // at most a block
        loop {
            let n = content.read(&mut block)?;
            if n == 0 {
                break;
            }
            hasher.update(&block[..n]);
            file.write(&block[..n]).map_err(|e| failed(&e))?;
        }
        let file = file.finish().map_err(|e| failed(&e))?;
        self.bytes += head.size;
        file.set_permissions(Permissions::from_mode(head.mode & 0o777)).map_err(|e| failed(&e))?;
        file.set_modified(time(head.modified)).map_err(|e| failed(&e))?;
        Ok(hasher.finish())
    }

    /// Makes a folder that only we can use until all is in it; its own mode comes at the end.
    fn folder(&mut self, path: &Path, head: &Head) -> Result<()> {
        let whole = self.root.join(path);
        match whole.symlink_metadata() {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => return Err(self.refused(&head.path, "something else has its name")),
            Err(_) => make_folder(&whole)?,
        }
        self.folders.push((whole, head.mode & 0o777, head.modified));
        Ok(())
    }

    fn link(&mut self, path: &Path, head: &Head) -> Result<PathBuf> {
        let target = PathBuf::from(OsStr::from_bytes(&head.target));
        if !self.limits.outward_links && !link_stays(path, &target) {
            let why = format!("it is a link to {}, which may lead out of the folder", shown(&target));
            return Err(self.refused(&head.path, &why).hint("allow outward links if the archive is your own"));
        }
        std::os::unix::fs::symlink(&target, self.root.join(path)).map_err(|e| self.taken(head, &e))?;
        Ok(target)
    }

    /// Makes another name for a file of this archive. A link or a file of the system is never the other end.
    fn hard_link(&mut self, path: &Path, head: &Head) -> Result<PathBuf> {
        let target =
            inside(&head.target).map_err(|_| self.refused(&head.path, "it is a hard link out of the folder"))?;
        self.make_parents(&head.path, &target)?;
        let first = self.root.join(&target);
        if !first.symlink_metadata().is_ok_and(|facts| facts.is_file()) {
            return Err(self.refused(&head.path, "it is a hard link to no file that came before"));
        }
        std::fs::hard_link(&first, self.root.join(path)).map_err(|e| self.taken(head, &e))?;
        Ok(target)
    }

    /// Gives the folders their modes and times, the innermost first.
    fn finish_folders(mut self) -> Result<()> {
        self.folders.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, mode, modified) in &self.folders {
            let failed = |e: io::Error| Error::io("write", path, &e);
            let folder = File::open(path).map_err(failed)?;
            folder.set_modified(time(*modified)).map_err(failed)?;
            folder.set_permissions(Permissions::from_mode(*mode)).map_err(failed)?;
        }
        Ok(())
    }

    fn taken(&self, head: &Head, cause: &io::Error) -> Error {
        match cause.kind() {
            io::ErrorKind::AlreadyExists => self.refused(&head.path, "something else has its name"),
            _ => Error::io("write", Path::new(OsStr::from_bytes(&head.path)), cause),
        }
    }

    fn refused(&self, name: &[u8], why: &str) -> Error {
        let (name, archive) = (shown(Path::new(OsStr::from_bytes(name))), shown(self.archive));
        Error::new(Kind::Refused, format!("could not extract {archive}: its entry \"{name}\" is refused"))
            .on(archive)
            .caused_by(why)
    }
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(|e| Error::io("create", path, &e))
}

fn time(seconds: u64) -> SystemTime {
    // A time that the system cannot express is no reason to lose a file.
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn describe(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Char | EntryType::Block => "it is a device",
        EntryType::Fifo => "it is a pipe",
        EntryType::GNUSparse => "sparse files are not taken",
        _ => "it is of a kind that is not known",
    }
}
