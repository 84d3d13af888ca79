//! A file as a row of gzip members, written: the stream is cut, packed by all cores, digested and written in one pass.
//!
//! Where it is cut and how a member is packed depend on the bytes alone, so equal streams make equal files whatever the
//! number of cores. What would save next to nothing is stored: packing it again costs most of the time and gains no room.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::digest::{Digest, Hashed};
use super::in_order::{InOrder, Results, workers};
use super::members::{Bounds, Packer, Packing, store_into};
use crate::error::Result;

/// The size of a member before packing. Each worker holds two or three.
const MEMBER: usize = 1 << 20;
/// Before a block is packed, this much of it is tried, taken from so many places.
const SAMPLE: usize = 64 << 10;
const SAMPLES: usize = 4;
/// What saves less than this part of itself is stored.
const WORTH: usize = 20;

/// A writer that packs. Nothing is whole before [`MemberWriter::finish`]; dropped before, its threads just end.
pub struct MemberWriter<W> {
    raw: Vec<u8>,
    given: bool,
    line: Option<InOrder<Block, io::Result<Block>, io::Result<Written<W>>>>,
    used: Receiver<Block>,
}

/// What was written.
pub struct Written<W> {
    /// What took it.
    pub inner: W,
    /// The digest of what it took.
    pub sha256: Digest,
    /// How many bytes it took.
    pub size: u64,
    /// Where each member lies.
    pub members: Vec<Bounds>,
}

/// A block and the member that it becomes. Both are used again and again, so that memory is asked for only once.
#[derive(Default)]
struct Block {
    raw: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write + Send + 'static> MemberWriter<W> {
    /// Starts a writer that packs with all cores.
    pub fn new(inner: W) -> Self {
        Self::with_workers(inner, workers(None))
    }

    fn with_workers(inner: W, workers: usize) -> Self {
        let (empties, used) = channel();
        let worker = || {
            let mut packer = Packer::new(Packing::Gzip);
            move |mut block: Block| match &mut packer {
                Ok(packer) => pack(packer, &mut block).map(|()| block).map_err(io::Error::other),
                Err(error) => Err(io::Error::other(error.clone())),
            }
        };
        let line = InOrder::start(workers, worker, move |results| write(Hashed::new(inner), results, &empties));
        Self { raw: Vec::new(), given: false, line: Some(line), used }
    }

    /// Writes what is left and returns what was written in all. Of an empty stream that is one empty member.
    pub fn finish(mut self) -> io::Result<Written<W>> {
        if !self.raw.is_empty() || !self.given {
            self.send()?;
        }
        self.line.take().ok_or_else(gone)?.finish()
    }

    /// Gives a block to the workers. When the writing has ended, it tells why.
    fn send(&mut self) -> io::Result<()> {
        self.given = true;
        let line = self.line.as_ref().ok_or_else(gone)?;
        let Block { raw: mut fresh, packed } = self.used.try_recv().unwrap_or_default();
        fresh.clear();
        if line.give(Block { raw: std::mem::replace(&mut self.raw, fresh), packed }) {
            return Ok(());
        }
        self.line.take().map_or_else(|| Err(gone()), |line| line.finish().and(Err(gone())))
    }
}

/// Writes members in their order, and gives the blocks back.
fn write<W: Write>(
    mut out: Hashed<W>,
    results: Results<io::Result<Block>>,
    empties: &Sender<Block>,
) -> io::Result<Written<W>> {
    let mut members = Vec::new();
    for block in results {
        let block = block?;
        let (length, raw_length) = (block.packed.len() as u64, block.raw.len() as u64);
        members.push(Bounds { offset: out.passed(), length, raw_length });
        out.write_all(&block.packed)?;
        let _ = empties.send(block); // the cutting side is gone only at the end
    }
    out.flush()?;
    let size = out.passed();
    let (inner, sha256) = out.finish();
    Ok(Written { inner, sha256, size, members })
}

impl<W: Write + Send + 'static> Write for MemberWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.raw.capacity() < MEMBER {
            self.raw.reserve_exact(MEMBER - self.raw.len());
        }
        let n = bytes.len().min(MEMBER - self.raw.len());
        self.raw.extend_from_slice(&bytes[..n]);
        if self.raw.len() == MEMBER {
            self.send()?;
        }
        Ok(n)
    }

    /// Does nothing: members end where they are full, or equal streams would make different files.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the file could not be written further")
}

/// Packs a block, or stores it where a sample of it says that packing gains next to nothing.
fn pack(packer: &mut Packer, block: &mut Block) -> Result<()> {
    let Block { raw, packed } = block;
    if raw.len() >= 4 * SAMPLE {
        let piece = |n| &raw[n * raw.len() / SAMPLES..][..SAMPLE / SAMPLES];
        packer.pack_into(&(0..SAMPLES).map(piece).collect::<Vec<_>>().concat(), packed)?;
        if packed.len() > SAMPLE - SAMPLE / WORTH {
            return store_into(raw, packed);
        }
    }
    packer.pack_into(raw, packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use crate::files::members::MemberReader;

    const MIB: usize = 1 << 20;

    /// Bytes that nobody can pack, the same each time (xorshift).
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut bytes: Vec<u8> = (0..len / 8 + 1).flat_map(|_| next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    fn text(len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            (0..).flat_map(|n: u32| format!("{n}\tcustomer {}\n", n % 977).into_bytes()).take(len).collect();
        bytes.shrink_to_fit();
        bytes
    }

    fn packed_by(workers: usize, raw: &[u8]) -> Written<Vec<u8>> {
        let mut writer = MemberWriter::with_workers(Vec::new(), workers);
        // In pieces that never meet the end of a member.
        raw.chunks(70_001).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    fn gunzip(packed: &[u8]) -> Vec<u8> {
        let mut child =
            Command::new("gunzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gunzip is there");
        let mut stdin = child.stdin.take().unwrap();
        let packed = packed.to_vec();
        let feeding = std::thread::spawn(move || stdin.write_all(&packed));
        let out = child.wait_with_output().unwrap();
        feeding.join().unwrap().unwrap();
        assert!(out.status.success());
        out.stdout
    }

    #[test]
    fn gunzip_and_our_reader_read_what_was_written_and_the_list_is_true() {
        let mixed = [text(5 * MIB / 2), noise(3 * MIB), vec![0; MIB], text(99)].concat();
        for raw in [&b""[..], b"x", &mixed[..MIB], &mixed[..MIB + 1], &mixed] {
            let written = packed_by(4, raw);
            assert_eq!((written.size, written.sha256), (written.inner.len() as u64, Digest::of(&written.inner)));
            assert!(gunzip(&written.inner) == raw, "gunzip, {} bytes", raw.len());
            let mut read = Vec::new();
            let mut reader = MemberReader::new(written.inner.as_slice(), Packing::Gzip, Some(written.members));
            reader.read_to_end(&mut read).unwrap();
            assert!(read == raw, "our reader, {} bytes", raw.len());
        }
    }

    #[test]
    fn the_number_of_workers_does_not_show() {
        let raw = [text(4 * MIB), noise(2 * MIB), text(3 * MIB + 5)].concat();
        let one = packed_by(1, &raw);
        for workers in 2..=4 {
            assert!(packed_by(workers, &raw).inner == one.inner, "{workers} workers");
        }
    }

    #[test]
    fn what_does_not_pack_is_stored_and_hardly_grows() {
        let raw = noise(16 * MIB + 12_345);
        let written = packed_by(2, &raw);
        assert!(written.size < raw.len() as u64 * 1001 / 1000, "{} of {}", written.size, raw.len());
        // Stored, its bytes are there to be seen; packed, none of them are.
        let seen = |place: usize| memchr::memmem::find(&written.inner, &raw[place..place + 64]).is_some();
        assert!((0..15).all(|n| seen(n * MIB + 1000)));
        let packed = packed_by(2, &written.inner);
        assert!(packed.size < written.size * 1001 / 1000, "packed once more it does not grow either");
    }

    #[test]
    fn text_is_packed_also_between_noise() {
        let written = packed_by(2, &[noise(2 * MIB), text(2 * MIB)].concat());
        let lengths: Vec<u64> = written.members.iter().map(|m| m.length * 100 / m.raw_length).collect();
        assert!(lengths[..2].iter().all(|l| *l == 100) && lengths[2..].iter().all(|l| *l < 50), "{lengths:?}");
    }

    /// A disk that is full after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::from_raw_os_error(28))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_as_it_is() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = MemberWriter::new(full).finish().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let mut writer = MemberWriter::new(Full(3 * MIB));
        let raw = noise(40 * MIB);
        let error = raw.chunks(4096).find_map(|piece| writer.write_all(piece).err()).unwrap();
        assert_eq!(error.to_string(), "No space left on device (os error 28)");
        assert!(writer.write_all(&raw).is_err() && writer.finish().is_err(), "and it does not recover");
    }

    #[test]
    fn an_early_drop_ends_the_threads_and_gives_the_file_up() {
        struct Slow(#[expect(dead_code)] Arc<()>);
        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                std::thread::sleep(std::time::Duration::from_millis(20));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let held = Arc::new(());
        let mut writer = MemberWriter::new(Slow(Arc::clone(&held)));
        writer.write_all(&noise(12 * MIB)).unwrap();
        let began = Instant::now();
        drop(writer);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        assert_eq!(Arc::strong_count(&held), 1, "no thread holds the file any more");
    }

    #[test]
    fn memory_does_not_grow_with_the_stream() {
        static MOST: AtomicUsize = AtomicUsize::new(0);
        // Slower than its workers, so that every queue is full. What is resident is the whole process's, so the stream is long.
        struct Watching(u32);
        impl Write for Watching {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0.is_multiple_of(16) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                MOST.fetch_max(resident(), Ordering::SeqCst);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        fn resident() -> usize {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
            line.split_whitespace().next().unwrap().parse::<usize>().unwrap() >> 10
        }
        let raw = noise(8 * MIB);
        let before = resident();
        let mut writer = MemberWriter::with_workers(Watching(0), 4);
        (0..40).for_each(|_| writer.write_all(&raw).unwrap());
        assert_eq!(writer.finish().unwrap().members.len(), 320);
        let most = MOST.load(Ordering::SeqCst).saturating_sub(before);
        assert!(most < 160, "{most} MiB for a stream of 320"); // it takes about 33; other tests share the process
    }
}
