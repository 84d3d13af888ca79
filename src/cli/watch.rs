//! Watching the files of a script: waits until the content of one of them is another than the run used.
//!
//! Editors replace files instead of writing to them, so the folders are watched and not the files. An event only says
//! "look again"; what counts is the SHA-256 of each file, so that no save without a change, no event that was lost and no
//! event that came twice can mislead. Once a second the folders themselves are looked at: one that was replaced has a
//! watch on its predecessor, which would stay silent for ever.
//!
//! Where the system has no events to give (network drives, bind mounts, no more inotify watches) the files are read once
//! a second instead. That is less than notify's own polling, which reads the whole folder, and backups may lie in there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long it has to be quiet before files are read: editors save in several moves.
const QUIET: Duration = Duration::from_millis(150);

/// How often folders are looked at, and files where there are no events.
const GLANCE: Duration = Duration::from_secs(1);

/// A file that a run used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Where it is, or should be.
    pub path: PathBuf,
    /// The SHA-256 in hex of the content that the run used. Without it counts what was seen last, or what is there now.
    pub sha256: Option<String>,
}

impl From<&Path> for Used {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), sha256: None }
    }
}

/// Waits for changes of a set of files.
pub struct Watcher {
    /// The files with the digest of the content that is known; none for a file that was not there.
    files: BTreeMap<PathBuf, Option<String>>,
    events: Option<Events>,
}

impl Watcher {
    /// Watches files. With `polling`, or where the system gives no events, they are read once a second.
    pub fn new(files: impl IntoIterator<Item = Used>, polling: bool) -> Self {
        let mut watcher = Self { files: BTreeMap::new(), events: if polling { None } else { Events::open() } };
        watcher.set(files);
        watcher
    }

    /// Takes another set of files, after a run that used them. A file that is not there yet is waited for.
    pub fn set(&mut self, files: impl IntoIterator<Item = Used>) {
        let known = std::mem::take(&mut self.files);
        for Used { path, sha256 } in files {
            let seen = sha256.or_else(|| known.get(&path).cloned().unwrap_or_else(|| digest(&path)));
            self.files.insert(path, seen);
        }
        self.look_at_folders();
    }

    /// Waits until files have another content than is known, and returns them; nothing when `stop` comes first. A file
    /// that vanished is waited for: it counts when it is back with another content. May be dropped at any time.
    pub async fn changed(&mut self, stop: &CancellationToken) -> Option<Vec<PathBuf>> {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = self.quiet() => {}
            }
            let changed = self.compare();
            if !changed.is_empty() {
                return Some(changed);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = self.something() => {}
            }
        }
    }

    /// Waits until nothing has happened to the files for a while.
    async fn quiet(&self) {
        let Some(events) = &self.events else { return };
        while tokio::time::timeout(QUIET, events.happened.notified()).await.is_ok() {}
    }

    /// Waits until it is worth to look at the files again.
    async fn something(&mut self) {
        loop {
            let Some(events) = &self.events else { return tokio::time::sleep(GLANCE).await };
            if tokio::time::timeout(GLANCE, events.happened.notified()).await.is_ok() || self.look_at_folders() {
                return;
            }
        }
    }

    /// Returns the files that have another content than is known, and knows it from now on.
    fn compare(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, known) in &mut self.files {
            let now = digest(path);
            if now.is_some() && now != *known {
                *known = now;
                changed.push(path.clone());
            }
        }
        changed
    }

    /// Watches the folders in which the files are now, and returns whether they are others than before. Where that
    /// fails, polling takes over.
    fn look_at_folders(&mut self) -> bool {
        let Some(events) = &mut self.events else { return false };
        let result = events.watch(self.files.keys());
        if result.is_err() {
            self.events = None;
        }
        result.unwrap_or(true)
    }
}

/// The events of the folders.
struct Events {
    watcher: RecommendedWatcher,
    /// The folders with their device and inode, which tell a folder from its successor.
    folders: BTreeMap<PathBuf, (u64, u64)>,
    /// The paths whose events count.
    paths: Arc<Mutex<BTreeSet<PathBuf>>>,
    happened: Arc<Notify>,
}

impl Events {
    fn open() -> Option<Self> {
        let paths = Arc::new(Mutex::new(BTreeSet::new()));
        let happened = Arc::new(Notify::new());
        let tell = {
            let (paths, happened) = (Arc::clone(&paths), Arc::clone(&happened));
            move |event: notify::Result<Event>| {
                if counts(&event, &paths.lock().unwrap_or_else(PoisonError::into_inner)) {
                    happened.notify_one(); // one is kept while nobody waits, and more would say no more
                }
            }
        };
        let watcher = RecommendedWatcher::new(tell, Config::default()).ok()?;
        Some(Self { watcher, folders: BTreeMap::new(), paths, happened })
    }

    /// Watches the folders of `files`, and returns whether they are others than before.
    fn watch<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) -> notify::Result<bool> {
        let paths: BTreeSet<PathBuf> = files.flat_map(|file| places(file)).collect();
        let folders: BTreeMap<_, _> = paths.iter().filter_map(|path| identity(path.parent()?)).collect();
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner) = paths;
        if folders == self.folders {
            return Ok(false);
        }
        let (watcher, before) = (&mut self.watcher, &self.folders);
        for gone in before.iter().filter(|(path, id)| folders.get(*path) != Some(id)) {
            let _ = watcher.unwatch(gone.0); // the system drops the watch of a folder that was removed by itself
        }
        for (new, _) in folders.iter().filter(|(path, id)| before.get(*path) != Some(id)) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                // Gone again already: the next look finds out.
                Err(e) if is_missing(&e) => {}
                result => result?,
            }
        }
        self.folders = folders;
        Ok(true)
    }
}

/// Returns whether an event is about one of the paths. Reading files makes events, too, and so do we.
fn counts(event: &notify::Result<Event>, paths: &BTreeSet<PathBuf>) -> bool {
    let Ok(event) = event else { return true };
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let only_read = event.kind.is_access() && event.kind != written;
    event.need_rescan() || (!only_read && event.paths.iter().any(|path| paths.contains(path)))
}

/// Returns where events about a file come from: its own folder, and for a link the folder of what it points to. Folders
/// are real ones, since the system knows each by one path only.
fn places(file: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let own = absolute.parent().zip(absolute.file_name());
    let own = own.and_then(|(folder, name)| Some(folder.canonicalize().ok()?.join(name)));
    own.into_iter().chain(absolute.canonicalize().ok()).collect()
}

fn identity(folder: &Path) -> Option<(PathBuf, (u64, u64))> {
    let facts = folder.metadata().ok()?;
    Some((folder.to_owned(), (facts.dev(), facts.ino())))
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(e) => e.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Returns the SHA-256 of a file in hex, or nothing where there is none to read. Only a real file is opened: a pipe in
/// its place would make us wait for ever.
fn digest(path: &Path) -> Option<String> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut sum = Sha256::new();
    loop {
        let block = file.fill_buf().ok()?;
        if block.is_empty() {
            break;
        }
        sum.update(block);
        let length = block.len();
        file.consume(length);
    }
    Some(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
