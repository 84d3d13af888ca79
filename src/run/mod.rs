//! One run as everything below the script sees it: its options, its clock, its way to stop, its journal and its ledger.

mod guard;
mod journal;
mod programs;
mod proving;
mod scope;
mod stop;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use guard::{Allowed, Claim, Configuration, Guard, Protection};
pub use journal::{
    Check, Event, JOURNAL_FILE, Journal, Listener, Moment, Outcome, ScriptFailure, Silent, Working,
    read as read_journal,
};
pub use programs::Programs;
pub use proving::{Place, Plant, Planted, Proving};
pub use scope::{Scope, current};
pub use stop::{Stop, Why};
pub use verdict::{Verdict, exit};

use crate::cleanup::{Ledger, Leftover};
use crate::error::Result;
use crate::files::atomic;
use crate::progress::Pace;
use crate::secret;
use crate::signing::{Signer, Trust};

/// What the command line asked of a run.
#[derive(Clone, Default)]
pub struct Options {
    /// Values of the script's parameters, as text.
    pub set: BTreeMap<String, String>,
    /// Announce effects instead of having them.
    pub dry_run: bool,
    /// Agree to every `confirm`.
    pub yes: bool,
    /// Whether a person can answer a question.
    pub interactive: bool,
    /// Leave sandboxes and temporary folders for a look.
    pub keep: bool,
    /// Fail when nothing was verified.
    pub require_checks: bool,
    /// The longest that the whole run may take.
    pub timeout: Option<Duration>,
    /// Where runs keep their journals: `.runner` unless said otherwise.
    pub state_dir: PathBuf,
    /// How many bytes the run may move in a second.
    pub bandwidth: Option<u64>,
    /// What no script may write to.
    pub protection: Protection,
    /// The key that signs the backups of this run.
    pub signer: Option<Arc<Signer>>,
    /// What is planted to see whether the script's checks see it.
    pub proving: Option<Arc<Proving>>,
    /// The keys that must have signed the backups that this run reads; without any, signatures are not asked for.
    pub trust: Arc<Trust>,
    /// The programs that scripts may start.
    pub programs: Programs,
}

/// One run.
pub struct Run {
    /// Its id: the time it started and a random word, so that ids sort by time.
    pub id: String,
    /// What the command line asked for.
    pub options: Options,
    /// When it started.
    pub started_at: Timestamp,
    /// Its evidence folder.
    pub folder: PathBuf,
    /// What happened.
    pub journal: Journal,
    /// What it made.
    pub ledger: Arc<Ledger>,
    /// How it is told to stop.
    pub stop: Stop,
    /// How fast its data may move.
    pub pace: Option<Arc<Pace>>,
    /// What it must not write to.
    pub guard: Guard,
    /// Runs the primitives' futures.
    pub runtime: tokio::runtime::Handle,
    started: Instant,
    parameters: Mutex<BTreeMap<String, String>>,
}

impl Run {
    /// Starts a run: makes its folder, its journal and its ledger.
    ///
    /// # Errors
    /// When the state folder cannot be written.
    pub fn start(options: Options, listener: Arc<dyn Listener>, runtime: tokio::runtime::Handle) -> Result<Arc<Self>> {
        options.set.values().for_each(|value| secret::learn_from(value));
        let started_at = Timestamp::now();
        let id = new_id(started_at);
        let folder = runs_folder(&options.state_dir).join(&id);
        atomic::create_folder(&folder)?;
        let started = Instant::now();
        let stop = Stop::default();
        let pace = options.bandwidth.map(|limit| Arc::new(Pace::new(limit)));
        Ok(Arc::new(Self {
            journal: Journal::create(&folder, started, listener)?.with_pace(pace.clone(), stop.token().clone()),
            ledger: Ledger::create(&id, &folder)?,
            stop,
            pace,
            guard: Guard::new(options.protection.clone()).closed(options.proving.is_some()),
            parameters: Mutex::default(),
            id,
            options,
            started_at,
            folder,
            runtime,
            started,
        }))
    }

    /// Returns how long the run has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes a parameter with the value that the run used. Asking again for the same one is not news.
    pub fn note_parameter(&self, name: &str, value: String) {
        let mut parameters = self.parameters.lock().unwrap_or_else(PoisonError::into_inner);
        if parameters.insert(name.to_owned(), value.clone()).as_ref() != Some(&value) {
            let given = self.options.set.contains_key(name);
            self.journal.record(Event::Parameter { name: name.to_owned(), value, given });
        }
    }

    /// Returns the parameters that the script asked for, with their values.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        self.parameters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes what the run made and journals what is left.
    pub async fn clean_up(&self) -> Vec<Leftover> {
        let leftovers = self.ledger.drain().await;
        leftovers.iter().for_each(|leftover| self.note_leftover(leftover));
        leftovers
    }

    /// Journals something that is still there.
    pub fn note_leftover(&self, Leftover { record, error }: &Leftover) {
        self.journal.record(Event::Leftover {
            kind: record.kind.clone(),
            name: record.name.clone(),
            by_hand: record.by_hand.clone(),
            error: error.to_string(),
        });
    }
}

/// Returns the folder below the state folder in which each run has its own.
pub fn runs_folder(state_dir: &Path) -> PathBuf {
    state_dir.join("runs")
}

fn new_id(at: Timestamp) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0u8; 4];
    // A run id only has to differ from its neighbours; the time carries the rest.
    if std::fs::File::open("/dev/urandom").and_then(|mut f| std::io::Read::read_exact(&mut f, &mut random)).is_err() {
        random = std::process::id().to_le_bytes();
    }
    let word: String = random.iter().map(|b| LETTERS[usize::from(b % 32)] as char).collect();
    format!("{}-{word}", at.strftime("%Y%m%d-%H%M%S"))
}
