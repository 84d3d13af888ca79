//! A ticker: calls something from time to time until it is dropped.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that ticks while this lives.
pub(super) struct Ticker {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Ticker {
    /// Calls `tick` every so often. Where no thread can be had it stays silent: showing progress must not fail the work.
    pub(super) fn start(every: Duration, mut tick: impl FnMut() + Send + 'static) -> Self {
        let (stop, stopped) = channel();
        let ticking = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(ticking).ok();
        Self { thread: thread.map(|thread| (stop, thread)) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join(); // a tick that panicked has nothing left to tell
        }
    }
}
