//! What the verbs of one script share: the run, and what the script put off to its end.

#![expect(deprecated, reason = "rhai marks what `defer` needs as volatile, which it calls deprecated")]

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Engine, EvalAltResult, FnPtr, NativeCallContext, NativeCallContextStore};

use crate::run::Run;

/// The side of a script run that its verbs see.
pub struct Host {
    /// The run.
    pub run: Arc<Run>,
    deferred: Mutex<Vec<Deferred>>,
}

/// A closure that `defer` put off, with the place it came from, without which it could not see its own module.
pub struct Deferred {
    closure: FnPtr,
    origin: NativeCallContextStore,
}

impl Host {
    /// Makes the shared side of a run.
    pub fn new(run: Arc<Run>) -> Arc<Self> {
        Arc::new(Self { run, deferred: Mutex::default() })
    }

    pub(super) fn defer(&self, closure: FnPtr, context: &NativeCallContext) {
        let deferred = Deferred { closure, origin: context.store_data() };
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).push(deferred);
    }

    /// Takes the closure that was put off last.
    pub fn next_deferred(&self) -> Option<Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
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
