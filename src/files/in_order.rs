//! Work in order: several threads do it side by side, and one takes the results in the order in which the work was given.
//!
//! The taker's queue holds the places of results in their order, so it bounds both what is in memory and how far a quick
//! worker may run ahead.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// More workers than this only cost memory: one reader cannot feed them.
const MOST_WORKERS: usize = 4;

/// Returns how many workers there are to be: as many as are wanted, or else as the machine has cores.
pub(crate) fn workers(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| thread::available_parallelism().map_or(2, usize::from)).clamp(1, MOST_WORKERS)
}

/// Threads that work in order. They end with this value, also when it is dropped early.
pub(crate) struct InOrder<J, D, T> {
    queues: Option<Queues<J, D>>,
    workers: Vec<JoinHandle<()>>,
    taker: Option<JoinHandle<T>>,
}

struct Queues<J, D> {
    jobs: SyncSender<(J, SyncSender<D>)>,
    places: SyncSender<Receiver<D>>,
}

/// The results, each in its turn. They end with the work, or when a worker panicked.
pub(crate) struct Results<D>(Receiver<Receiver<D>>);

impl<D> Iterator for Results<D> {
    type Item = D;

    fn next(&mut self) -> Option<D> {
        self.0.recv().ok()?.recv().ok()
    }
}

impl<J: Send + 'static, D: Send + 'static, T: Send + 'static> InOrder<J, D, T> {
    /// Starts the threads: `worker` makes what each worker does with a job, `take` takes the results.
    pub(crate) fn start<W: FnMut(J) -> D + Send + 'static>(
        workers: usize,
        worker: impl Fn() -> W,
        take: impl FnOnce(Results<D>) -> T + Send + 'static,
    ) -> Self {
        let (jobs, waiting) = sync_channel::<(J, SyncSender<D>)>(workers);
        let (places, order) = sync_channel(workers);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |mut work: W| {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || {
                loop {
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((job, done)) = job else { return };
                    let _ = done.send(work(job)); // the taker is gone only when it failed, and knows why
                }
            })
        };
        let workers = (0..workers).map(|_| start(worker())).collect();
        let taker = thread::spawn(move || take(Results(order)));
        Self { queues: Some(Queues { jobs, places }), workers, taker: Some(taker) }
    }

    /// Gives work, and waits while there is enough of it. Returns false when the taker has ended: ask it why.
    pub(crate) fn give(&self, job: J) -> bool {
        let Some(Queues { jobs, places }) = &self.queues else { return false };
        let (done, place) = sync_channel(1);
        places.send(place).is_ok() && jobs.send((job, done)).is_ok()
    }

    /// Says that all work is given, and returns what the taker made of it. A panic of any thread goes on here.
    pub(crate) fn finish(mut self) -> T {
        self.queues = None;
        for worker in self.workers.drain(..) {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        let taker = self.taker.take().expect("only this takes it, and takes itself with it");
        taker.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<J, D, T> Drop for InOrder<J, D, T> {
    fn drop(&mut self) {
        self.queues = None;
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // what panicked was given up
        }
        if let Some(taker) = self.taker.take() {
            let _ = taker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_the_order_of_the_work_whoever_is_quicker() {
        let slow_first = || |n: u64| (0..(200 - n) * 2_000).fold(n, |a, b| std::hint::black_box(a ^ b ^ b));
        let line = InOrder::start(4, slow_first, |results| results.collect::<Vec<u64>>());
        assert!((0..200).all(|n| line.give(n)));
        assert_eq!(line.finish(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_runs_ahead_of_the_taker() {
        static HELD: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let take = |results: Results<()>| {
            results.for_each(|()| {
                thread::yield_now();
                HELD.fetch_sub(1, Ordering::SeqCst);
            });
        };
        let line = InOrder::start(3, || |()| (), take);
        for _ in 0..1000 {
            MOST.fetch_max(HELD.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            assert!(line.give(()));
        }
        line.finish();
        // The one that is given, three places in the queue and the one in the taker's hands.
        assert!(MOST.load(Ordering::SeqCst) <= 5, "{MOST:?}");
    }

    #[test]
    fn a_taker_that_gives_up_ends_the_giving_and_tells_why() {
        let line = InOrder::start(2, || |n: u32| n, |mut results| results.find(|n| *n == 5));
        assert!((0..u32::MAX).any(|n| !line.give(n)));
        assert_eq!(line.finish(), Some(5));
    }

    #[test]
    fn an_early_drop_ends_the_threads() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let worker = move || {
            let held = Arc::clone(&held);
            move |n: u32| (n, Arc::clone(&held))
        };
        let line = InOrder::start(4, worker, |results| results.count());
        assert!((0..20).all(|n| line.give(n)));
        drop(line);
        assert_eq!(Arc::strong_count(&alive), 1, "no thread holds it any more");
    }

    #[test]
    fn a_panic_of_a_worker_or_of_the_taker_goes_on() {
        let worker = || |n: u32| if n == 3 { panic!("a worker") } else { n };
        let taker = |results: Results<u32>| {
            results.for_each(drop);
        };
        let line = InOrder::start(1, worker, taker);
        while line.give(3) {}
        assert!(catch_unwind(AssertUnwindSafe(|| line.finish())).is_err());
        let line = InOrder::start(2, || |n: u32| n, |_: Results<u32>| panic!("the taker"));
        while line.give(0) {}
        assert!(catch_unwind(AssertUnwindSafe(|| line.finish())).is_err());
    }
}
