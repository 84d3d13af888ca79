//! How a run is told to stop: a sticky reason, a token that every primitive waits on, and a second life for cleanup.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why a run stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM or SIGHUP.
    Terminated,
    /// The run's own deadline.
    Deadline,
}

impl Why {
    /// Returns the word that reports use.
    pub fn word(self) -> &'static str {
        match self {
            Why::Interrupted => "interrupted",
            Why::Terminated => "terminated",
            Why::Deadline => "deadline passed",
        }
    }
}

/// The three phases of a run: it works, it was stopped, it cleans up. Only the middle one ends script code at once: a
/// flag that stayed up during cleanup would stop the cleanup itself.
#[derive(Clone, Default)]
pub struct Stop(Arc<State>);

#[derive(Default)]
struct State {
    work: CancellationToken,
    why: OnceLock<Why>,
    cleaning: AtomicBool,
    cleanup: CancellationToken,
}

impl Stop {
    /// Stops the run. Only the first reason counts.
    pub fn stop(&self, why: Why) {
        let _ = self.0.why.set(why); // a second reason changes nothing
        self.0.work.cancel();
    }

    /// Stops the cleanup, too: the operator pressed Ctrl-C again.
    pub fn abandon_cleanup(&self) {
        self.0.cleanup.cancel();
    }

    /// Says that what runs from now on is cleanup.
    pub fn begin_cleanup(&self) {
        self.0.cleaning.store(true, Ordering::SeqCst);
    }

    /// Returns why the run was stopped.
    pub fn why(&self) -> Option<Why> {
        self.0.why.get().copied()
    }

    /// Returns the token of the present phase.
    pub fn token(&self) -> &CancellationToken {
        if self.0.cleaning.load(Ordering::SeqCst) { &self.0.cleanup } else { &self.0.work }
    }

    /// Returns the token that ends the cleanup.
    pub fn cleanup_token(&self) -> &CancellationToken {
        &self.0.cleanup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_and_cleanup_starts_afresh() {
        let stop = Stop::default();
        stop.stop(Why::Deadline);
        stop.stop(Why::Interrupted);
        assert_eq!(stop.why(), Some(Why::Deadline));
        assert!(stop.token().is_cancelled());
        stop.begin_cleanup();
        assert!(!stop.token().is_cancelled());
        stop.abandon_cleanup();
        assert!(stop.token().is_cancelled());
    }
}
