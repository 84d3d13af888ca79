//! A reader that gives little at a time and watches how much room is made for it.

use std::io::{self, Read};

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
