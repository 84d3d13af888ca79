//! What the verbs of one script share: the run, and what the script put off to its end.

#![expect(deprecated, reason = "rhai marks what `defer` needs as volatile, which it calls deprecated")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Engine, EvalAltResult, FnPtr, NativeCallContext, NativeCallContextStore};

use super::handles::Server;
use super::swaps::Swaps;
use crate::docker;
use crate::run::{Event, Run};

/// The side of a script run that its verbs see.
pub struct Host {
    /// The run.
    pub run: Arc<Run>,
    /// The Docker Engine, connected when a verb first needs it.
    pub docker: docker::Engine,
    pub(super) swaps: Swaps,
    deferred: Mutex<Vec<Deferred>>,
    announced: Mutex<Vec<PathBuf>>,
    projects: Mutex<Vec<String>>,
    kept: Mutex<Vec<Server>>,
}

/// A closure that `defer` put off, with the place it came from, without which it could not see its own module.
pub struct Deferred {
    closure: FnPtr,
    origin: NativeCallContextStore,
}

impl Host {
    /// Makes the shared side of a run.
    pub fn new(run: Arc<Run>) -> Arc<Self> {
        Arc::new(Self {
            run,
            docker: docker::Engine::default(),
            swaps: Swaps::default(),
            deferred: Mutex::default(),
            kept: Mutex::default(),
            announced: Mutex::default(),
            projects: Mutex::default(),
        })
    }

    pub(super) fn defer(&self, closure: FnPtr, context: &NativeCallContext) {
        let deferred = Deferred { closure, origin: context.store_data() };
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).push(deferred);
    }

    /// Notes that a dry run announced a change at a path, so that what is there later is no longer known.
    pub fn announce_change(&self, path: &Path) {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).push(absolute(path));
    }

    /// Returns whether an announced change touches a path, something below it or a folder above it.
    pub fn is_changed(&self, path: &Path) -> bool {
        let path = absolute(path);
        let announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        announced.iter().any(|changed| changed.starts_with(&path) || path.starts_with(changed))
    }

    /// Notes that a dry run announced to make a Compose project, so that its services are no longer known.
    pub(super) fn announce_project(&self, project: &str) {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).push(project.to_owned());
    }

    /// Returns whether a dry run announced to make a Compose project.
    pub(super) fn is_announced_project(&self, project: &str) -> bool {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|announced| announced == project)
    }

    pub(super) fn keep_at_end(&self, server: Server) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(server);
    }

    /// Leaves the servers that were asked for to the operator. A run that was stopped, or that is one of a proof, keeps
    /// nothing.
    pub fn keep_what_stays(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        if self.run.stop.why().is_some() || self.run.options.proving.is_some() {
            return;
        }
        for server in kept {
            if let Err(error) = self.run.runtime.block_on(server.keep(&self.run)) {
                let text = format!("could not keep {server}: {error}");
                self.run.journal.record(Event::Said { text, warning: true });
            }
        }
    }

    /// Takes the closure that was put off last.
    pub fn next_deferred(&self) -> Option<Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

/// Makes two spellings of one path equal as far as that goes without looking at the disk.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Deferred {
    /// Runs the closure.
    ///
    /// # Errors
    /// What the closure threw.
    pub fn run(self, engine: &Engine) -> Result<(), Box<EvalAltResult>> {
        let context = self.origin.create_context(engine);
        self.closure.call_within_context::<rhai::Dynamic>(&context, ()).map(|_| ())
    }
}
