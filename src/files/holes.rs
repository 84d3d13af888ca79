//! Holes: zeros that a file says it has and that take no room on the disk. What was sparse stays so when it is written anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// File systems keep files in pieces of this size or larger.
const PIECE: usize = 4096;
const ZEROS: [u8; PIECE] = [0; PIECE];

/// A new file that is written from its start; where whole pieces are zeros, there will be a hole.
pub(super) struct Holes {
    file: File,
    at: u64,
}

impl Holes {
    /// Starts to write an empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file, at: 0 }
    }

    /// Writes the next bytes.
    pub(super) fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let (mut data, mut end) = (0, 0);
        for piece in block.chunks(PIECE) {
            end += piece.len();
            if piece == &ZEROS[..piece.len()] {
                self.file.write_all_at(&block[data..end - piece.len()], self.at + data as u64)?;
                data = end;
            }
        }
        self.file.write_all_at(&block[data..], self.at + data as u64)?;
        self.at += block.len() as u64;
        Ok(())
    }

    /// Gives the file the size that it has with a hole at its end, and returns it.
    pub(super) fn finish(self) -> io::Result<File> {
        self.file.set_len(self.at)?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_bytes_are_the_same_and_zeros_take_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let mut raw = vec![0; 9 << 20];
        raw[5_000_000..5_010_000].fill(7);
        for (ends_with, pieces) in [(0, 65_536), (9, 4096), (0, 999)] {
            *raw.last_mut().unwrap() = ends_with;
            let mut file = Holes::new(File::create(&path).unwrap());
            raw.chunks(pieces).for_each(|piece| file.write(piece).unwrap());
            file.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == raw, "in pieces of {pieces}");
            let room = path.metadata().unwrap().blocks() * 512;
            assert!(pieces < PIECE || room < 100_000, "{room} in pieces of {pieces}");
        }
    }
}
