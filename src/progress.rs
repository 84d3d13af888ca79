//! Progress: two counters that work adds to and that the terminal reads, and the pace that a run keeps while it adds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How long a wait sleeps before it looks whether the run was stopped.
const SLICE: Duration = Duration::from_millis(50);

/// Bytes done and, where it is known, bytes in all. Clones share the counters.
#[derive(Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Default)]
struct Counters {
    done: AtomicU64,
    total: AtomicU64,
    pace: Option<(Arc<Pace>, CancellationToken)>,
}

impl Progress {
    /// Makes counters whose bytes keep the pace of a run, until `stopped`.
    pub fn paced(pace: Arc<Pace>, stopped: CancellationToken) -> Self {
        Self(Arc::new(Counters { pace: Some((pace, stopped)), ..Counters::default() }))
    }

    /// Adds bytes that are done, on a thread that may wait: where the run has a limit, this returns when they are paid for.
    pub fn add(&self, bytes: u64) {
        self.note(bytes);
        self.keep_pace(bytes);
    }

    /// Adds bytes that are done, where no thread may be held up.
    pub async fn add_later(&self, bytes: u64) {
        self.note(bytes);
        let Some((pace, stopped)) = &self.0.pace else { return };
        let wait = pace.take(bytes);
        let _ = stopped.run_until_cancelled(tokio::time::sleep(wait)).await; // a stop ends the waiting, whoever sees it
    }

    /// Adds bytes that others move, such as an image that the Engine pulls.
    pub fn note(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits for bytes that move and are not part of what is shown.
    pub fn keep_pace(&self, bytes: u64) {
        let Some((pace, stopped)) = &self.0.pace else { return };
        let until = Instant::now() + pace.take(bytes);
        while !stopped.is_cancelled() {
            match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return,
                left => thread::sleep(left.min(SLICE)),
            }
        }
    }

    /// Says how many bytes there are in all; 0 is "not known".
    pub fn set_total(&self, bytes: u64) {
        self.0.total.store(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes done so far.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Returns the bytes in all, 0 where that is not known.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }
}

/// How fast the data of one run may move, all of its parallel work together.
pub struct Pace {
    limit: u64,
    started: Instant,
    bucket: Mutex<Bucket>,
    moved: AtomicU64,
}

impl Pace {
    /// Makes a pace of so many bytes a second.
    pub fn new(limit: u64) -> Self {
        let bucket = Mutex::new(Bucket::new(limit));
        Self { limit, started: Instant::now(), bucket, moved: AtomicU64::new(0) }
    }

    /// Returns the bytes that may move in a second.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the bytes that moved so far.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Duration {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(self.started.elapsed(), bytes)
    }
}

/// A bucket of tokens that holds none in advance: what was not used is not made up for, so no second has more than the
/// limit, and whoever takes waits until what he took has been paid.
struct Bucket {
    limit: u64,
    /// The time at which all that was taken is paid.
    paid: Duration,
}

impl Bucket {
    fn new(limit: u64) -> Self {
        Self { limit: limit.max(1), paid: Duration::ZERO }
    }

    /// Takes bytes and returns how long to wait.
    fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.limit as f64);
        self.paid = self.paid.max(now).saturating_add(cost);
        self.paid.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_taker_waits_as_long_as_his_bytes_take() {
        let mut bucket = Bucket::new(20_000_000);
        assert_eq!(bucket.take(Duration::ZERO, 20_000_000), SECOND);
        assert_eq!(bucket.take(SECOND, 5_000_000), SECOND / 4);
        assert_eq!(bucket.take(SECOND * 2, 0), Duration::ZERO);
    }

    #[test]
    fn parallel_takers_share_one_limit() {
        let mut bucket = Bucket::new(1000);
        // Four at one moment: the last one waits for all of them.
        let waits: Vec<Duration> = (0..4).map(|_| bucket.take(SECOND, 500)).collect();
        assert_eq!(waits, [SECOND / 2, SECOND, SECOND * 3 / 2, SECOND * 2]);
    }

    #[test]
    fn a_pause_gives_nothing_in_advance() {
        let mut bucket = Bucket::new(1000);
        bucket.take(Duration::ZERO, 1000);
        assert_eq!(bucket.take(SECOND * 100, 1000), SECOND);
    }

    #[test]
    fn however_it_is_cut_the_whole_takes_as_long() {
        let (limit, mut now, mut moved) = (1_000_000u64, Duration::ZERO, 0u64);
        let mut bucket = Bucket::new(limit);
        for n in 0..1000u64 {
            let bytes = n * 37 % 4096;
            moved += bytes;
            now += bucket.take(now, bytes) + Duration::from_micros(n % 3);
        }
        assert!(now >= Duration::from_secs_f64(moved as f64 / limit as f64 * 0.999_999), "{now:?} for {moved}");
    }

    #[test]
    fn a_stop_ends_the_waiting() {
        let stopped = CancellationToken::new();
        stopped.cancel();
        let pace = Arc::new(Pace::new(1));
        Progress::paced(Arc::clone(&pace), stopped).add(1 << 40);
        assert_eq!(pace.moved(), 1 << 40);
    }
}
