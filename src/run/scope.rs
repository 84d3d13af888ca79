//! Where a thread of the script is: the step it is in and the token that ends it.
//!
//! Rhai gives a native function no place of its own for this, and every branch of `parallel` is a thread, so a thread
//! local is the honest shape.

use std::cell::RefCell;

use tokio_util::sync::CancellationToken;

thread_local! {
    static SCOPE: RefCell<Scope> = RefCell::default();
}

/// The innermost step and token of a thread.
#[derive(Clone, Default)]
pub struct Scope {
    /// The step by its number in the journal.
    pub step: Option<usize>,
    /// Ends the step or the branch; none means that only the run's own token counts.
    pub token: Option<CancellationToken>,
}

/// Returns where this thread is.
pub fn current() -> Scope {
    SCOPE.with_borrow(Clone::clone)
}

impl Scope {
    /// Runs `work` inside this scope and goes back to the one before, also when `work` panics.
    pub fn enter<T>(self, work: impl FnOnce() -> T) -> T {
        struct Back(Scope);
        impl Drop for Back {
            fn drop(&mut self) {
                SCOPE.set(std::mem::take(&mut self.0));
            }
        }
        let _back = Back(SCOPE.replace(self));
        work()
    }

    /// Returns whether this thread's step or branch was ended.
    pub fn is_cancelled() -> bool {
        SCOPE.with_borrow(|s| s.token.as_ref().is_some_and(CancellationToken::is_cancelled))
    }
}
