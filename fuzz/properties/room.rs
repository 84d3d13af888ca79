//! A folder for one input, in memory where there is such a place: a target makes thousands of them in a second.

use std::io::{self, Read};
use std::path::Path;

use tempfile::TempDir;

/// Makes an empty folder that goes when it is dropped.
pub(crate) fn room() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

/// Gives at most `step` bytes at once, and sees to it that nobody asks for room which the input did not earn.
pub(crate) struct Drip<'a> {
    left: &'a [u8],
    given: usize,
    step: usize,
}

impl<'a> Drip<'a> {
    /// The most that a reader may make room for before it has seen a byte.
    const FREE: usize = 4 << 20;

    /// Starts to give.
    pub(crate) fn new(bytes: &'a [u8], step: usize) -> Self {
        Self { left: bytes, given: 0, step }
    }
}

impl Read for Drip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(into.len() <= Self::FREE + 4 * self.given, "{} bytes of room after {}", into.len(), self.given);
        let (now, later) = self.left.split_at(self.left.len().min(self.step).min(into.len()));
        into[..now.len()].copy_from_slice(now);
        (self.left, self.given) = (later, self.given + now.len());
        Ok(now.len())
    }
}

/// Returns a number that looks random and is the same for the same bytes: where to cut, what to change.
pub(crate) fn number_of(bytes: &[u8]) -> usize {
    let mixed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (mixed ^ (mixed >> 32)) as usize
}
