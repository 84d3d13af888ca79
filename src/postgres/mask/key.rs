//! The key of a masking: hashes and permutations that nobody can repeat without it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// A shorter secret could be guessed, and with it every value looked up.
const SHORTEST: usize = 16;
/// Rounds of the permutation. Four make it a good one; the others are cheap.
const ROUNDS: u8 = 8;

/// A key with which values are masked.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    /// Makes the key of a secret, or one from the system's random numbers, which is gone with the dump.
    pub(super) fn new(secret: Option<&Secret>) -> Result<Self> {
        match secret {
            Some(secret) if secret.expose().len() < SHORTEST => {
                Err(Error::new(Kind::Refused, format!("`mask_key` has less than {SHORTEST} characters"))
                    .hint("whoever guesses it can look every value up: openssl rand -hex 32"))
            }
            Some(secret) => Self::of(secret.expose().as_bytes()),
            None => Self::of(&*random()?),
        }
    }

    pub(super) fn of(bytes: &[u8]) -> Result<Self> {
        let key = Hmac::new_from_slice(bytes);
        key.map(Self).map_err(|e| Error::new(Kind::Bug, "could not make a key").because(&e))
    }

    /// Returns the keyed hash of a value. The kind keeps a number and a text of the same letters apart.
    pub(super) fn hash(&self, kind: &str, value: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    /// Returns another number below `size` for each number below it: no two numbers become the same one.
    ///
    /// It is a Feistel network over the next power of four; what falls outside goes round again.
    pub(super) fn permuted(&self, size: u128, value: u128) -> u128 {
        let half = (128 - size.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
        let mut at = value;
        loop {
            at = self.rounds(size, half, at);
            if at < size {
                return at;
            }
        }
    }

    fn rounds(&self, size: u128, half: u32, at: u128) -> u128 {
        let mask = (1 << half) - 1;
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..ROUNDS {
            let mut mac = self.0.clone();
            mac.update(b"permutation\0");
            mac.update(&size.to_le_bytes());
            mac.update(&[round]);
            mac.update(&right.to_le_bytes());
            let word = mac.finalize().into_bytes();
            let word = word.iter().take(16).fold(0u128, |word, byte| word << 8 | u128::from(*byte));
            (left, right) = (right, left ^ (word & mask));
        }
        left << half | right
    }
}

fn random() -> Result<zeroize::Zeroizing<[u8; 32]>> {
    let source = Path::new("/dev/urandom");
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut *bytes));
    read.map_err(|e| Error::io("read", source, &e))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_permutation_hits_every_number_once_and_another_key_gives_another_one() {
        let (a, b) = (Key::of(b"a").unwrap(), Key::of(b"b").unwrap());
        for size in [1, 2, 3, 100, 1000, 4096] {
            let all: Vec<u128> = (0..size).map(|n| a.permuted(size, n)).collect();
            assert!(all.iter().all(|n| *n < size));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len() as u128, size);
        }
        let different = (0..1000).filter(|n| a.permuted(1000, *n) != b.permuted(1000, *n)).count();
        assert!(different > 950, "{different}");
        let largest = 10u128.pow(38);
        assert!(a.permuted(largest, largest - 1) < largest);
    }

    #[test]
    fn a_random_key_is_another_one_each_time_and_a_short_secret_is_refused() {
        let hash = |key: Key| key.hash("text", b"ada@example.com");
        assert_ne!(hash(Key::new(None).unwrap()), hash(Key::new(None).unwrap()));
        let secret = Secret::new("a-long-enough-mask-key");
        assert_eq!(hash(Key::new(Some(&secret)).unwrap()), hash(Key::new(Some(&secret)).unwrap()));
        assert_eq!(Key::new(Some(&Secret::new("short-key"))).err().unwrap().kind(), Kind::Refused);
    }
}
