//! Making a backup set: under a name that nobody takes for a set, until everything in it is whole.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::set::{self, Component, FAILED_PREFIX, METADATA_FILE, Metadata, SET_PREFIX, VERSION};
use super::tree;
use super::{Backup, BackupSet};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::files::digest::Digest;
use crate::files::{atomic, checksums, listing, shown, shred, unfinished};
use crate::progress::Progress;
use crate::units;

/// A set in the making. Whatever is not finished goes with the run, or after a kill with the next one.
pub struct Unfinished {
    catalog: PathBuf,
    folder: PathBuf,
    digits: String,
    started_at: Timestamp,
    ticket: Ticket,
}

/// Returns the name of a set that is taken at a time.
pub fn set_name(at: Timestamp) -> String {
    format!("{SET_PREFIX}{}", at.strftime("%Y%m%d_%H%M%S"))
}

impl Unfinished {
    /// Starts a set in a catalog.
    pub async fn start(ledger: &Arc<Ledger>, catalog: &Path, started_at: Timestamp) -> Result<Self> {
        let name = set_name(started_at);
        refuse_taken(&catalog.join(&name))?;
        atomic::create_folder(catalog)?;
        let catalog = catalog.canonicalize().map_err(|e| Error::io("use", catalog, &e))?;
        let prefix = atomic::partial_prefix();
        let folder = catalog.join(format!("{prefix}{name}"));
        let record = Record::new(unfinished::KIND, name.clone(), format!("rm -r '{}'", folder.display()))
            .fact("folder", catalog.display().to_string())
            .fact("prefix", prefix);
        let (making, removing) = (folder.clone(), folder.clone());
        let make = async move {
            refuse_taken(&making)?;
            atomic::create_folder(&making)
        };
        let undo = move || async move { remove(&removing) };
        let ((), ticket) = ledger.make(record, make, undo).await?;
        let digits = name.trim_start_matches(SET_PREFIX).to_owned();
        Ok(Self { catalog, folder, digits, started_at, ticket })
    }

    /// Returns where a component is written: a folder of this path, or a file whose name goes on with a dot.
    pub fn path(&self, stem: &str) -> Result<PathBuf> {
        let inside = crate::files::safe_path::inside(stem.as_bytes())
            .map_err(|why| Error::new(Kind::Usage, format!("{stem:?} is no name for a component")).caused_by(why))?;
        let path = self.folder.join(inside);
        if let Some(parent) = path.parent() {
            atomic::create_folder(parent)?;
        }
        Ok(path)
    }

    /// Finishes the set: writes `checksums.txt` and the metadata and gives the folder its name. Only files whose digest
    /// is not known from when they were written are read for it: what lies on the disk is proven by a verification.
    /// A set in which something failed gets a name that no tool takes for a set.
    pub fn finish(
        &self,
        stems: &[String],
        mut errors: Vec<String>,
        progress: &Progress,
        cancel: &CancellationToken,
    ) -> Result<PathBuf> {
        let mut components = BTreeMap::new();
        for stem in stems {
            match self.component(stem) {
                Ok(component) => drop(components.insert(key(stem), component)),
                // A component that failed has said why already.
                Err(_) if errors.iter().any(|e| e.starts_with(&format!("{}: ", key(stem)))) => {}
                Err(error) => errors.push(format!("{}: {error}", key(stem))),
            }
        }
        let mut known = Known::default();
        stems.iter().for_each(|stem| known.learn(&self.folder, stem, self.file_of(stem).ok()));
        let digest = |path: &Path, facts: &fs::Metadata| known.digest(path, facts);
        let written = checksums::write_checksums_with(&self.folder, &digest, progress, cancel)?;
        let prefix = if errors.is_empty() { SET_PREFIX } else { FAILED_PREFIX };
        let name = format!("{prefix}{}", self.digits);
        let to = self.catalog.join(&name);
        let total_size = components.values().map(|c: &Component| c.size).sum();
        for component in components.values_mut() {
            component.backup_dir = component.files.map(|_| to.join(&component.path).display().to_string());
        }
        let metadata = Metadata {
            timestamp: self.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: VERSION.into(),
            backup_name: name,
            backup_path: to.display().to_string(),
            tool: concat!("runner ", env!("CARGO_PKG_VERSION")).into(),
            components,
            total_size_mb: megabytes(total_size),
            total_size,
            checksums_sha256: Digest::of_file(&written.file, &Progress::default(), cancel)?.to_string(),
            validation_errors: errors,
        };
        set::write_json(&self.folder.join(METADATA_FILE), &metadata)?;
        refuse_taken(&to)?;
        atomic::sync_folder(&self.folder)?;
        std::fs::rename(&self.folder, &to).map_err(|e| Error::io("name", &to, &e))?;
        atomic::sync_folder(&self.catalog)?;
        Ok(to)
    }

    /// Takes the unfinished folder out of the run's ledger, with what may still be there.
    pub async fn close(self) -> Result<()> {
        self.ticket.remove().await
    }

    fn component(&self, stem: &str) -> Result<Component> {
        let path = self.folder.join(stem);
        if path.is_dir() {
            let size = set::size_at(&path);
            return Ok(Component {
                files: Some(count_files(&path)?),
                size_mb: megabytes(size),
                size,
                path: stem.to_owned(),
                ..Component::default()
            });
        }
        let file = self.file_of(stem)?;
        let size = set::size_at(&file);
        let sealed = checksums::read_sidecar(&file);
        let digest = sealed.or_else(|_| Digest::of_file(&file, &Progress::default(), &CancellationToken::new()))?;
        let manifest = Backup::open(&file).ok().and_then(|backup| backup.manifest().cloned());
        if let Some(manifest) = manifest.as_ref().filter(|manifest| manifest.is_masked()) {
            return Err(Error::new(Kind::Refused, "a masked copy is no part of a backup set")
                .caused_by(format!("masked: {}", manifest.masked_columns()))
                .hint("dump it into a folder of its own: what is masked cannot come back"));
        }
        let raw = manifest.map(|manifest| units::size(manifest.raw_size));
        let relative = file.strip_prefix(&self.folder).unwrap_or(&file).to_string_lossy().into_owned();
        Ok(Component {
            filename: Some(file.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            size_mb: megabytes(size),
            size,
            checksum: Some(digest.to_string()),
            database_size: raw,
            path: relative,
            ..Component::default()
        })
    }

    /// Finds the one file of a component: what lies beside it is known by its ending.
    fn file_of(&self, stem: &str) -> Result<PathBuf> {
        let wanted = self.folder.join(stem);
        let start = format!("{}.", wanted.file_name().unwrap_or_default().to_string_lossy());
        let parent = wanted.parent().unwrap_or(&self.folder);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(parent).map_err(|e| Error::io("read", parent, &e))? {
            let name = entry.map_err(|e| Error::io("read", parent, &e))?.file_name().to_string_lossy().into_owned();
            let beside = [".sha256", ".manifest.json", ".manifest.json.sig", tree::ENDING]
                .iter()
                .any(|ending| name.ends_with(ending));
            if name.starts_with(&start) && !beside {
                found.push(parent.join(name));
            }
        }
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::new(Kind::Missing, "nothing was written for it")
                .hint("write to the path that the closure is given, with an ending: to + \".sql.gz\"")),
            _ => Err(Error::new(Kind::Usage, "several files were written for it").hint("write them into a folder")),
        }
    }
}

/// The digests that were made while files were written.
#[derive(Default)]
struct Known(HashMap<PathBuf, Made>);

struct Made {
    digest: Digest,
    /// When it was written down. A file that was touched later is read.
    at: Time,
    touched: fn(&fs::Metadata) -> Time,
}

/// A time of the file system: seconds and nanoseconds.
type Time = (i64, i64);

impl Known {
    /// Takes what lies beside a component: the digests of a copied folder's files, or the checksum of one file.
    fn learn(&mut self, set: &Path, stem: &str, file: Option<PathBuf>) {
        let folder = set.join(stem);
        if folder.is_dir() {
            let Ok(Some(tree)) = tree::Tree::beside(&folder) else { return };
            let Some(at) = written_at(&crate::files::with_suffix(&folder, tree::ENDING)) else { return };
            // A copy has the time of its original, so only its change tells.
            let made = |digest| Made { digest, at, touched: |facts| (facts.ctime(), facts.ctime_nsec()) };
            let files = tree.sha256.into_iter();
            self.0.extend(files.map(|(name, digest)| (Path::new(stem).join(name), made(digest))));
        } else if let Some(file) = file
            && let Ok(digest) = checksums::read_sidecar(&file)
            && let Some(at) = written_at(&checksums::sidecar(&file))
            && let Ok(relative) = file.strip_prefix(set)
        {
            // It got its name, which is a change, after its checksum did.
            self.0.insert(relative.to_owned(), Made { digest, at, touched: modified });
        }
    }

    /// Returns the digest of a file that is still as it was written.
    fn digest(&self, path: &Path, facts: &fs::Metadata) -> Option<Digest> {
        self.0.get(path).filter(|made| (made.touched)(facts) <= made.at).map(|made| made.digest)
    }
}

fn written_at(path: &Path) -> Option<Time> {
    path.symlink_metadata().ok().as_ref().map(modified)
}

fn modified(facts: &fs::Metadata) -> Time {
    (facts.mtime(), facts.mtime_nsec())
}

/// `docker_volumes/redis` is the component `docker_volume_redis`.
fn key(stem: &str) -> String {
    stem.strip_prefix("docker_volumes/").map_or_else(|| stem.to_owned(), |name| format!("docker_volume_{name}"))
}

/// Returns the name under which errors and metadata speak of a component.
pub fn component_name(stem: &str) -> String {
    key(stem)
}

fn count_files(folder: &Path) -> Result<u64> {
    let mut files = 0;
    crate::files::walk::walk(folder, &mut |entry| {
        files += u64::from(entry.kind == crate::files::walk::Kind::File);
        Ok(true)
    })?;
    Ok(files)
}

/// Three decimals, so that a small file is not nothing.
fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e6 * 1000.0).round() / 1000.0
}

fn refuse_taken(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{} exists already", shown(path)))
        .on(shown(path))
        .hint("another run made a set in this second: run it again"))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder, &e)),
        _ => Ok(()),
    }
}

/// Removes a set for good. It loses its name first, so that half of it never looks like a set.
pub(super) fn remove_set(set: &BackupSet, shred: Option<&CancellationToken>) -> Result<()> {
    listing::may_go(&set.folder)?;
    if shred.is_some() {
        shred::may_go(&set.folder)?;
    }
    let parent = set.folder.parent().unwrap_or(Path::new("."));
    let going = parent.join(format!("{}{}", atomic::partial_prefix(), set.name));
    std::fs::rename(&set.folder, &going).map_err(|e| Error::io("remove", &set.folder, &e))?;
    atomic::sync_folder(parent)?;
    if let Some(cancel) = shred {
        shred::overwrite(&going, cancel)?;
    }
    remove(&going)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::archive::{Wanted, archive};

    /// What the copy said of a file is changed, so that it shows who believed it.
    #[test]
    fn what_was_digested_when_it_was_written_is_not_read_again_until_it_is_touched() {
        let work = tempfile::tempdir().unwrap();
        let (from, set) = (work.path().join("from"), work.path().join("set"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/a"), "a").unwrap();
        fs::write(from.join("b"), "b").unwrap();
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let mut tree = tree::copy_tree(&from, &set.join("models"), &[], &progress, &cancel).unwrap();
        assert_eq!(tree.sha256["sub/a"], Digest::of(b"a"));
        let claimed = Digest::of(b"claimed");
        tree.sha256.values_mut().for_each(|digest| *digest = claimed);
        set::write_json(&set.join("models.tree.json"), &tree).unwrap();
        archive(&from, &set.join("config.tar.gz"), &Wanted::default(), &progress, &cancel).unwrap();
        fs::write(checksums::sidecar(&set.join("config.tar.gz")), format!("{claimed}  config.tar.gz\n")).unwrap();

        let written = |what: &str| {
            let mut known = Known::default();
            known.learn(&set, "models", None);
            known.learn(&set, "config", Some(set.join("config.tar.gz")));
            let digest = |path: &Path, facts: &fs::Metadata| known.digest(path, facts);
            let list = checksums::write_checksums_with(&set, &digest, &progress, &cancel).unwrap().file;
            let lines = checksums::lines(&list).unwrap();
            lines.into_iter().find(|(path, _)| path == Path::new(what)).unwrap().1
        };
        for path in ["models/b", "models/sub/a", "config.tar.gz"] {
            assert_eq!(written(path), claimed, "{path}");
        }
        assert_eq!(written("models.tree.json"), Digest::of(&fs::read(set.join("models.tree.json")).unwrap()));
        for path in ["models/b", "config.tar.gz"] {
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
            fs::write(set.join(path), "other").unwrap();
            fs::File::open(set.join(path)).unwrap().set_modified(later).unwrap();
        }
        assert_eq!((written("models/sub/a"), written("models/b")), (claimed, Digest::of(b"other")));
        assert_eq!(written("config.tar.gz"), Digest::of(b"other"));
    }
}
