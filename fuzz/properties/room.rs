//! A folder for one input, in memory where there is such a place: a target makes thousands of them in a second.

use std::path::Path;

use tempfile::TempDir;

/// Makes an empty folder that goes when it is dropped.
pub(crate) fn room() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

/// Returns a number that looks random and is the same for the same bytes: where to cut, what to change.
pub(crate) fn number_of(bytes: &[u8]) -> usize {
    let mixed = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (mixed ^ (mixed >> 32)) as usize
}
