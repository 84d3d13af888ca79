//! Cleanup: everything this run makes is journaled before it exists and removed on every way out.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::{Error, Kind, Result};

/// The file in a run's folder that lists what the run made.
pub const LEDGER_FILE: &str = "resources.jsonl";

/// How long one removal may take before it counts as failed.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);

type Removal = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
type Undo = Box<dyn FnOnce() -> Removal + Send>;

/// One thing that a run makes: enough to find and remove it from another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `container`, `database`, `cluster`, `folder`, `file`, `process` …
    pub kind: String,
    /// The name that an operator would use.
    pub name: String,
    /// The command that removes it by hand.
    pub by_hand: String,
    /// What `runner gc` needs besides the name. Never a secret.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl Record {
    /// Makes a record.
    pub fn new(kind: &str, name: impl Into<String>, by_hand: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), by_hand: by_hand.into(), facts: serde_json::Map::new() }
    }

    /// Adds a fact for `runner gc`.
    pub fn fact(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.into(), value.into());
        self
    }
}

/// Something that could not be removed, and why.
#[derive(Debug, Clone)]
pub struct Leftover {
    /// What is still there.
    pub record: Record,
    /// Why it is still there.
    pub error: Error,
}

/// What one line of the ledger says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Line {
    Making {
        id: usize,
        #[serde(flatten)]
        record: Record,
    },
    Removed {
        id: usize,
    },
    Kept {
        id: usize,
    },
    SetAside {
        id: usize,
    },
}

/// The list of what one run made, on disk and in memory.
pub struct Ledger {
    run: String,
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// Locked while the run lives, so that another process can tell a dead run's ledger from a live one's.
    file: Flock<File>,
    next: usize,
    entries: Vec<Entry>,
}

struct Entry {
    id: usize,
    record: Record,
    made: watch::Receiver<bool>,
    undo: Undo,
}

impl Ledger {
    /// Creates the ledger of the run `run` in its folder.
    pub fn create(run: &str, folder: &Path) -> Result<Arc<Self>> {
        let path = folder.join(LEDGER_FILE);
        let file =
            File::options().append(true).create_new(true).open(&path).map_err(|e| Error::io("create", &path, &e))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| Error::new(Kind::Io, format!("could not lock {}", path.display())).because(&errno))?;
        let state = State { file, next: 0, entries: Vec::new() };
        Ok(Arc::new(Self { run: run.to_owned(), path, state: Mutex::new(state) }))
    }

    /// Returns the id of the run, which names and labels of resources carry.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Journals `record`, then makes the thing, and returns it with the ticket that removes it.
    ///
    /// The making runs as a task of its own: when the caller is cancelled half way, removal waits for its end, so that
    /// nothing can come into being after it was removed. `undo` must accept that the thing is not there.
    pub async fn make<T, M, U, R>(self: &Arc<Self>, record: Record, make: M, undo: U) -> Result<(T, Ticket)>
    where
        T: Send + 'static,
        M: Future<Output = Result<T>> + Send + 'static,
        U: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let (done, made) = watch::channel(false);
        let ticket = self.enter(record, made, Box::new(move || Box::pin(undo())))?;
        let made = tokio::spawn(async move {
            let result = make.await;
            let _ = done.send(true); // nobody waits unless we were cancelled
            result
        });
        match made.await {
            Ok(Ok(thing)) => Ok((thing, ticket)),
            Ok(Err(error)) => {
                // A half-made thing is still a thing. What stays is reported by the final drain.
                let _ = ticket.remove().await;
                Err(error)
            }
            Err(panic) => Err(Error::new(Kind::Bug, "making a resource panicked").because(&panic)),
        }
    }

    fn enter(self: &Arc<Self>, record: Record, made: watch::Receiver<bool>, undo: Undo) -> Result<Ticket> {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        self.append(&mut state, &[Line::Making { id, record: record.clone() }])?;
        state.entries.push(Entry { id, record, made, undo });
        Ok(Ticket { id, ledger: Arc::clone(self) })
    }

    /// Removes everything that is left, newest first, and returns what could not be removed.
    pub async fn drain(&self) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        loop {
            let Some(entry) = self.lock().entries.pop() else { return leftovers };
            let record = entry.record.clone();
            if let Err(error) = self.remove(entry).await {
                leftovers.push(Leftover { record, error });
            }
        }
    }

    /// Returns what is still there, without removing it.
    pub fn remaining(&self) -> Vec<Record> {
        self.lock().entries.iter().map(|e| e.record.clone()).collect()
    }

    async fn remove(&self, entry: Entry) -> Result<()> {
        let Entry { id, mut made, undo, .. } = entry;
        let removal = async {
            let _ = made.wait_for(|made| *made).await; // an error means that the maker ended
            undo().await
        };
        tokio::time::timeout(REMOVAL_LIMIT, removal)
            .await
            .unwrap_or_else(|_| Err(Error::new(Kind::Timeout, "removal took longer than 60 seconds")))?;
        self.append(&mut self.lock(), &[Line::Removed { id }])
    }

    fn append(&self, state: &mut State, lines: &[Line]) -> Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)
                .map_err(|e| Error::new(Kind::Bug, "could not write the ledger").because(&e))?;
            text.push(b'\n');
        }
        let file = &mut *state.file;
        file.write_all(&text).and_then(|()| file.sync_data()).map_err(|e| Error::io("write", &self.path, &e))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to remove one thing early, or to leave it to its user.
#[must_use = "a ticket that is dropped leaves the thing to the end of the run"]
pub struct Ticket {
    id: usize,
    ledger: Arc<Ledger>,
}

impl Ticket {
    /// Removes the thing now. Calling it after the run's own cleanup does nothing.
    pub async fn remove(self) -> Result<()> {
        let entry = {
            let mut state = self.ledger.lock();
            let at = state.entries.iter().position(|e| e.id == self.id);
            at.map(|at| state.entries.remove(at))
        };
        match entry {
            Some(entry) => {
                let record = entry.record.clone();
                let removed = self.ledger.remove(entry).await;
                if let Err(error) = &removed {
                    self.ledger.restore_failed(self.id, record, error.clone());
                }
                removed
            }
            None => Ok(()),
        }
    }

    /// Hands the thing over to the user: it is what the run was for, and nothing removes it.
    pub fn keep(self) -> Result<()> {
        Self::keep_all(vec![self])
    }

    /// Hands several things over, all with one write: a kill leaves all of them or none.
    pub fn keep_all(tickets: Vec<Ticket>) -> Result<()> {
        Self::leave(tickets, |id| Line::Kept { id })
    }

    /// Leaves the thing for a look: it stays after the run, until `runner gc --kept`.
    pub fn set_aside(self) -> Result<()> {
        Self::leave(vec![self], |id| Line::SetAside { id })
    }

    fn leave(tickets: Vec<Ticket>, line: impl Fn(usize) -> Line) -> Result<()> {
        let Some(ledger) = tickets.first().map(|ticket| Arc::clone(&ticket.ledger)) else { return Ok(()) };
        let mut state = ledger.lock();
        state.entries.retain(|e| !tickets.iter().any(|ticket| ticket.id == e.id));
        let lines: Vec<_> = tickets.iter().map(|ticket| line(ticket.id)).collect();
        ledger.append(&mut state, &lines)
    }
}

impl Ledger {
    /// Puts a failed removal back, so that the final drain reports it.
    fn restore_failed(&self, id: usize, record: Record, error: Error) {
        let (_, made) = watch::channel(true);
        let undo: Undo = Box::new(move || Box::pin(std::future::ready(Err(error))));
        self.lock().entries.insert(0, Entry { id, record, made, undo });
    }
}

/// What is looked for among the things of runs that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// What a killed run could not remove.
    LeftBehind,
    /// That, and what a run set aside for a look.
    SetAsideToo,
}

/// What a run that ended left behind.
#[derive(Debug)]
pub struct Abandoned {
    /// The run's folder.
    pub folder: PathBuf,
    /// What it made and did not remove, newest first.
    pub records: Vec<Record>,
    sought: Sought,
    /// Held so that two collectors do not work on one run.
    lock: Flock<File>,
}

/// Returns what runs below `runs` left whose process is gone. Live runs hold a lock and are passed over.
pub fn abandoned(runs: &Path, sought: Sought) -> Result<Vec<Abandoned>> {
    let folders = match std::fs::read_dir(runs) {
        Ok(folders) => folders,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", runs, &e)),
    };
    let mut found = Vec::new();
    for folder in folders {
        let folder = folder.map_err(|e| Error::io("read", runs, &e))?.path();
        let path = folder.join(LEDGER_FILE);
        let Ok(file) = File::options().append(true).open(&path) else { continue };
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        let records = still_there(&text, sought);
        if !records.is_empty() {
            found.push(Abandoned { folder, records: records.into_iter().map(|(_, r)| r).collect(), sought, lock });
        }
    }
    Ok(found)
}

impl Abandoned {
    /// Notes that everything in the list is gone.
    pub fn all_removed(mut self) -> Result<()> {
        let path = self.folder.join(LEDGER_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        for (id, _) in still_there(&text, self.sought) {
            let line = serde_json::to_string(&Line::Removed { id }).unwrap_or_default();
            writeln!(self.lock, "{line}").map_err(|e| Error::io("write", &path, &e))?;
        }
        self.lock.sync_data().map_err(|e| Error::io("write", &path, &e))
    }
}

/// Reads a ledger's text. The last line may be cut: its thing was not made yet.
fn still_there(text: &str, sought: Sought) -> Vec<(usize, Record)> {
    let mut there: Vec<(usize, Record)> = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Making { id, record }) => there.push((id, record)),
            Ok(Line::Removed { id } | Line::Kept { id }) => there.retain(|(other, _)| *other != id),
            Ok(Line::SetAside { id }) if sought == Sought::LeftBehind => there.retain(|(other, _)| *other != id),
            Ok(Line::SetAside { .. }) | Err(_) => {}
        }
    }
    there.reverse();
    there
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
        let runs = tempfile::tempdir().unwrap();
        let folder = runs.path().join("r1");
        std::fs::create_dir(&folder).unwrap();
        let ledger = Ledger::create("r1", &folder).unwrap();
        (runs, ledger)
    }

    fn record(name: &str) -> Record {
        Record::new("folder", name, format!("rm -r {name}"))
    }

    #[tokio::test]
    async fn things_go_newest_first() {
        let (_runs, ledger) = ledger();
        let order = Arc::new(Mutex::new(Vec::new()));
        for name in ["a", "b"] {
            let order = Arc::clone(&order);
            let undo = move || async move {
                order.lock().unwrap().push(name);
                Ok(())
            };
            let _ = ledger.make(record(name), async { Ok(()) }, undo).await.unwrap();
        }
        assert!(ledger.drain().await.is_empty());
        assert_eq!(*order.lock().unwrap(), ["b", "a"]);
    }

    #[tokio::test]
    async fn a_thing_whose_making_was_cancelled_is_removed_after_it_was_made() {
        let (_runs, ledger) = ledger();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let there = Arc::new(AtomicUsize::new(0));
        let (made, gone) = (Arc::clone(&there), Arc::clone(&there));
        let making = ledger.make(
            record("late"),
            async move {
                let _ = wait.await;
                made.store(1, Ordering::SeqCst);
                Ok(())
            },
            move || async move {
                gone.store(0, Ordering::SeqCst);
                Ok(())
            },
        );
        tokio::select! { biased; _ = making => unreachable!(), () = tokio::task::yield_now() => {} }
        let draining = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.drain().await }
        });
        tokio::task::yield_now().await;
        go.send(()).unwrap();
        assert!(draining.await.unwrap().is_empty());
        assert_eq!(there.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_listed_even_when_it_failed_early() {
        let (_runs, ledger) = ledger();
        let undo = || async { Err(Error::new(Kind::Docker, "the engine is gone")) };
        let ((), ticket) = ledger.make(record("stuck"), async { Ok(()) }, undo).await.unwrap();
        assert!(ticket.remove().await.is_err());
        let left = ledger.drain().await;
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].record.by_hand, "rm -r stuck");
    }

    #[tokio::test]
    async fn a_dead_runs_things_are_found_and_a_live_ones_are_not() {
        let (runs, ledger) = ledger();
        let never = || async { Ok(()) };
        let _ = ledger.make(record("x"), async { Ok(()) }, never).await.unwrap();
        let ((), y) = ledger.make(record("y"), async { Ok(()) }, never).await.unwrap();
        let ((), z) = ledger.make(record("z"), async { Ok(()) }, never).await.unwrap();
        y.remove().await.unwrap();
        z.keep().unwrap();
        let ((), look) = ledger.make(record("look"), async { Ok(()) }, never).await.unwrap();
        look.set_aside().unwrap();
        assert!(abandoned(runs.path(), Sought::LeftBehind).unwrap().is_empty(), "a live run is not abandoned");
        drop(ledger);
        let mut found = abandoned(runs.path(), Sought::LeftBehind).unwrap();
        assert_eq!(found.len(), 1);
        let one = found.remove(0);
        assert_eq!(one.records.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["x"]);
        one.all_removed().unwrap();
        assert!(abandoned(runs.path(), Sought::LeftBehind).unwrap().is_empty());
        let aside = abandoned(runs.path(), Sought::SetAsideToo).unwrap().remove(0);
        assert_eq!(aside.records.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["look"]);
        aside.all_removed().unwrap();
        assert!(abandoned(runs.path(), Sought::SetAsideToo).unwrap().is_empty());
    }
}
