//! Members: a file as a row of gzip members or Zstandard frames that can be packed and unpacked one by one.
//!
//! Reading goes to the file's real end: gunzip ignores what follows the last member, and a reader that stops at the first
//! end would never see that a part was cut off or added.

use std::io::{self, BufRead, Read, Write};

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use libdeflater::{CompressionLvl, Compressor as Deflater, Decompressor as Inflater};
use memchr::memmem;
use zstd::bulk::{Compressor, Decompressor};
use zstd::stream::read::Decoder;
use zstd::zstd_safe::CParameter;

use crate::error::{Error, Kind, Result};

/// libdeflate's first level: about as small as gzip's own default on dumps, and several times as fast (decision 0017).
const GZIP_LEVEL: i32 = 1;
/// Faster than gzip at any level and smaller.
const ZSTD_LEVEL: i32 = 1;
/// The largest window that a frame may ask memory for: 32 MiB.
const ZSTD_WINDOW_LOG: u32 = 25;

/// How a gzip member begins: RFC 1952's magic number, and deflate, the only method there is.
const GZIP_HEAD: [u8; 3] = [0x1f, 0x8b, 8];
/// Members up to this size, packed and unpacked, are unpacked in one go, which takes half the time of a stream. Ours are
/// of 1 MiB; only a very long row or statement makes a larger one.
pub(crate) const AT_ONCE: u64 = 8 << 20;

/// How members are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip members.
    Gzip,
    /// Zstandard frames.
    Zstd,
    /// The bytes as they are.
    Plain,
}

/// Where one member lies in a file, and its size once unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes in the file.
    pub length: u64,
    /// Its bytes once unpacked.
    pub raw_length: u64,
}

/// Packs members, one at a time. Each thread has its own.
pub enum Packer {
    /// Makes gzip members.
    Gzip(Deflater),
    /// Makes Zstandard frames, reusing one context.
    Zstd(Compressor<'static>),
    /// Copies.
    Plain,
}

impl Packer {
    /// Makes a packer.
    pub fn new(packing: Packing) -> Result<Self> {
        match packing {
            Packing::Gzip => {
                let level = CompressionLvl::new(GZIP_LEVEL).map_err(|_| Error::new(Kind::Bug, "no such level"))?;
                Ok(Self::Gzip(Deflater::new(level)))
            }
            Packing::Plain => Ok(Self::Plain),
            Packing::Zstd => {
                let made = Compressor::new(ZSTD_LEVEL).and_then(|mut compressor| {
                    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
                    Ok(compressor)
                });
                made.map(Self::Zstd).map_err(|e| failed(&e))
            }
        }
    }

    /// Returns the member that unpacks to `raw`. Equal bytes give equal members: there is no time and no name in it.
    pub fn pack(&mut self, raw: &[u8]) -> Result<Vec<u8>> {
        let mut member = Vec::new();
        self.pack_into(raw, &mut member).map(|()| member)
    }

    /// Makes `member` the one that unpacks to `raw`.
    pub(super) fn pack_into(&mut self, raw: &[u8], member: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Plain => raw.clone_into(member),
            Self::Zstd(compressor) => *member = compressor.compress(raw).map_err(|e| failed(&e))?,
            Self::Gzip(deflater) => {
                member.resize(deflater.gzip_compress_bound(raw.len()), 0);
                let size = deflater.gzip_compress(raw, member).map_err(|e| failed(&io::Error::other(e)))?;
                member.truncate(size);
            }
        }
        Ok(())
    }
}

/// Makes `member` the gzip member that holds `raw` as it is.
pub(super) fn store_into(raw: &[u8], member: &mut Vec<u8>) -> Result<()> {
    member.clear();
    member.reserve(raw.len() + raw.len() / 1000 + 64);
    let mut encoder = GzBuilder::new().mtime(0).write(member, Compression::none());
    encoder.write_all(raw).and_then(|()| encoder.finish()).map(drop).map_err(|e| failed(&e))
}

/// Unpacks members of a known size, each in one go. Each thread has its own.
pub enum Unpacker {
    /// Reads gzip members.
    Gzip(Inflater),
    /// Reads Zstandard frames, reusing one context.
    Zstd(Decompressor<'static>),
    /// Copies.
    Plain,
}

impl Unpacker {
    /// Makes an unpacker.
    pub fn new(packing: Packing) -> io::Result<Self> {
        Ok(match packing {
            Packing::Gzip => Self::Gzip(Inflater::new()),
            Packing::Zstd => Self::Zstd(Decompressor::new()?),
            Packing::Plain => Self::Plain,
        })
    }

    /// Makes `raw` what `member` unpacks to, which must be as many bytes as `raw` has. Another member behind it is refused.
    pub fn unpack_into(&mut self, member: &[u8], raw: &mut [u8]) -> io::Result<()> {
        let wrong = |why: &str| damaged(format!("a member does not unpack to what its manifest says: {why}"));
        let size = match self {
            Self::Plain if member.len() == raw.len() => {
                raw.copy_from_slice(member);
                member.len()
            }
            Self::Plain => member.len(),
            Self::Zstd(decompressor) => {
                decompressor.decompress_to_buffer(member, raw).map_err(|e| wrong(&e.to_string()))?
            }
            // libdeflate does not tell where a member ended, so where another one may begin, the stream's decoder reads.
            Self::Gzip(_) if memmem::find(member.get(1..).unwrap_or_default(), &GZIP_HEAD).is_some() => {
                unpack_as_stream(member, raw).map_err(|e| wrong(&e.to_string()))?
            }
            Self::Gzip(inflater) => {
                let size = inflater.gzip_decompress(member, raw).map_err(|e| wrong(&e.to_string()))?;
                if !member.ends_with(&gzip_end(raw)) {
                    return Err(wrong("something follows it"));
                }
                size
            }
        };
        if size == raw.len() { Ok(()) } else { Err(wrong(&format!("{size} bytes in place of {}", raw.len()))) }
    }
}

/// Unpacks a gzip member that must be all that there is, and returns its size.
fn unpack_as_stream(member: &[u8], raw: &mut [u8]) -> io::Result<usize> {
    let mut decoder = GzDecoder::new(member);
    decoder.read_exact(raw)?;
    let ended = decoder.read(&mut [0])? == 0;
    if ended && decoder.into_inner().is_empty() { Ok(raw.len()) } else { Err(io::Error::other("something follows it")) }
}

/// Returns how a gzip member of these bytes ends: with their CRC-32 and their number.
fn gzip_end(raw: &[u8]) -> [u8; 8] {
    let mut crc = libdeflater::Crc::new();
    crc.update(raw);
    let (sum, size) = (crc.sum().to_le_bytes(), (raw.len() as u32).to_le_bytes()); // modulo 2^32, as RFC 1952 has it
    [sum[0], sum[1], sum[2], sum[3], size[0], size[1], size[2], size[3]]
}

fn failed(cause: &io::Error) -> Error {
    Error::new(Kind::Io, "could not pack").because(cause)
}

/// Unpacks a file member by member to its real end, and compares the members with those that a manifest lists.
pub struct MemberReader<R: BufRead> {
    state: State<R>,
    packing: Packing,
    expected: Option<std::vec::IntoIter<Bounds>>,
    members: u64,
    offset: u64,
    raw: u64,
    unpacker: Option<Unpacker>,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
}

enum State<R: BufRead> {
    Gzip(Box<GzDecoder<Counted<R>>>),
    Zstd(Box<Decoder<'static, Counted<R>>>),
    /// It was unpacked in one go.
    Unpacked(Counted<R>),
    Between(Counted<R>),
    /// Passing from one to the other, or broken.
    Nothing,
}

/// Counts the bytes that were taken. What turned out to need another reader can be given back.
struct Counted<R> {
    inner: R,
    taken: u64,
    back: Vec<u8>,
    /// How much of what was given back was taken again.
    again: usize,
}

impl<R> Counted<R> {
    fn give_back(&mut self, bytes: Vec<u8>) {
        self.taken -= bytes.len() as u64;
        (self.back, self.again) = (bytes, 0);
    }
}

impl<R: BufRead> MemberReader<R> {
    /// Starts reading. With `expected`, the members must be exactly these.
    pub fn new(input: R, packing: Packing, expected: Option<Vec<Bounds>>) -> Self {
        Self {
            state: State::Between(Counted { inner: input, taken: 0, back: Vec::new(), again: 0 }),
            packing,
            expected: expected.map(Vec::into_iter),
            members: 0,
            offset: 0,
            raw: 0,
            unpacker: Unpacker::new(packing).ok(),
            packed: Vec::new(),
            unpacked: Vec::new(),
        }
    }

    /// Returns how many members were read whole.
    pub fn members(&self) -> u64 {
        self.members
    }

    /// Gives the input back once everything was read.
    pub fn into_input(self) -> Option<R> {
        match self.state {
            State::Between(counted) => Some(counted.inner),
            _ => None,
        }
    }

    /// Starts the next member; returns false at the end of the file.
    fn begin(&mut self, mut input: Counted<R>) -> io::Result<bool> {
        if input.fill_buf()?.is_empty() {
            self.state = State::Between(input);
            let missing = self.expected.as_mut().is_some_and(|expected| expected.next().is_some());
            return match (missing, self.members) {
                (true, _) => Err(damaged(format!("it ends at byte {}, members are missing", self.offset))),
                (false, 0) => Err(damaged("it is empty".into())),
                (false, _) => Ok(false),
            };
        }
        self.raw = 0;
        if self.unpack_at_once(&mut input)? {
            self.state = State::Unpacked(input);
            return Ok(true);
        }
        self.state = match self.packing {
            Packing::Zstd => {
                let mut decoder = Decoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                State::Zstd(Box::new(decoder))
            }
            Packing::Gzip | Packing::Plain => State::Gzip(Box::new(GzDecoder::new(input))),
        };
        Ok(true)
    }

    /// Unpacks the next member in one go, if it is known where it ends. Returns false where it is not, and where that fails:
    /// the stream's decoder then says what is wrong, and where.
    fn unpack_at_once(&mut self, input: &mut Counted<R>) -> io::Result<bool> {
        let next = self.expected.as_ref().and_then(|expected| expected.as_slice().first());
        let Some(next) = next.filter(|next| next.length.max(next.raw_length) <= AT_ONCE) else { return Ok(false) };
        let Some(unpacker) = &mut self.unpacker else { return Ok(false) };
        self.packed.clear();
        input.take(next.length).read_to_end(&mut self.packed)?;
        self.unpacked.resize(next.raw_length as usize, 0); // at most AT_ONCE
        let whole = unpacker.unpack_into(&self.packed, &mut self.unpacked).is_ok();
        if !whole {
            input.give_back(std::mem::take(&mut self.packed));
        }
        Ok(whole)
    }

    /// Closes a member that was read whole.
    fn end(&mut self, input: Counted<R>) -> io::Result<()> {
        let found = Bounds { offset: self.offset, length: input.taken - self.offset, raw_length: self.raw };
        if let Some(expected) = &mut self.expected
            && expected.next() != Some(found)
        {
            return Err(damaged(format!("the member at byte {} is not the one in the manifest", self.offset)));
        }
        self.members += 1;
        self.offset = input.taken;
        self.state = State::Between(input);
        Ok(())
    }

    fn broken(&self, cause: io::Error) -> io::Error {
        if cause.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return cause;
        }
        let what = match (cause.kind(), self.raw) {
            (io::ErrorKind::UnexpectedEof, _) => format!("it is cut off inside the member at byte {}", self.offset),
            // What has a member's head and fails in its content is one that was damaged.
            (_, 0) if self.members > 0 && !cause.to_string().contains("deflate") => {
                format!("what follows byte {} is no member of it: {cause}", self.offset)
            }
            _ => format!("the member at byte {} is damaged: {cause}", self.offset),
        };
        damaged(what)
    }
}

impl<R: BufRead> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match std::mem::replace(&mut self.state, State::Nothing) {
                State::Nothing => return Err(damaged("it could not be read further".into())),
                State::Between(mut input) if self.packing == Packing::Plain => {
                    let read = input.read(buffer);
                    self.state = State::Between(input);
                    return read;
                }
                State::Between(input) => match self.begin(input)? {
                    true => continue,
                    false => return Ok(0),
                },
                State::Unpacked(input) => {
                    let unread = &self.unpacked[self.raw as usize..]; // at most AT_ONCE
                    if unread.is_empty() {
                        self.end(input)?;
                        continue;
                    }
                    let length = unread.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&unread[..length]);
                    self.state = State::Unpacked(input);
                    Ok(length)
                }
                State::Gzip(mut decoder) => match decoder.read(buffer) {
                    Ok(0) => {
                        self.end(decoder.into_inner())?;
                        continue;
                    }
                    read => {
                        self.state = State::Gzip(decoder);
                        read
                    }
                },
                State::Zstd(mut decoder) => match decoder.read(buffer) {
                    Ok(0) => {
                        self.end(decoder.finish())?;
                        continue;
                    }
                    read => {
                        self.state = State::Zstd(decoder);
                        read
                    }
                },
            };
            return match read {
                Ok(n) => {
                    self.raw += n as u64;
                    Ok(n)
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
                Err(e) => {
                    self.state = State::Nothing;
                    Err(self.broken(e))
                }
            };
        }
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.again < self.back.len() { Ok(&self.back[self.again..]) } else { self.inner.fill_buf() }
    }

    fn consume(&mut self, n: usize) {
        self.taken += n as u64;
        if self.again < self.back.len() {
            self.again += n;
        } else {
            self.inner.consume(n);
        }
    }
}

/// An error of ours that passes through `io::Read`.
fn damaged(why: String) -> io::Error {
    io::Error::other(Error::new(Kind::Damaged, "the file is damaged").caused_by(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&[u8]; 3] = [b"first part\n", b"second part\n", b"third\n"];

    fn packed(packing: Packing) -> (Vec<u8>, Vec<Bounds>) {
        let mut packer = Packer::new(packing).unwrap();
        let (mut file, mut bounds) = (Vec::new(), Vec::new());
        for part in PARTS {
            let member = packer.pack(part).unwrap();
            let (offset, length) = (file.len() as u64, member.len() as u64);
            bounds.push(Bounds { offset, length, raw_length: part.len() as u64 });
            file.extend(member);
        }
        (file, bounds)
    }

    fn unpacked(file: &[u8], packing: Packing, expected: Option<Vec<Bounds>>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut reader = MemberReader::new(file, packing, expected);
        reader.read_to_end(&mut out).map_err(|e| e.to_string())?;
        assert!(reader.into_input().is_some_and(<[u8]>::is_empty), "everything was read");
        Ok(out)
    }

    #[test]
    fn members_read_back_and_agree_with_their_list() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let (file, bounds) = packed(packing);
            assert_eq!(unpacked(&file, packing, Some(bounds.clone())).unwrap(), PARTS.concat());
            assert_eq!(unpacked(&file, packing, None).unwrap(), PARTS.concat());
            let mut other = bounds;
            other[1].raw_length += 1;
            let error = unpacked(&file, packing, Some(other)).unwrap_err();
            assert!(error.contains("is not the one in the manifest"), "{error}");
        }
    }

    #[test]
    fn a_cut_a_flip_and_a_foreign_end_are_refused() {
        for packing in [Packing::Gzip, Packing::Zstd] {
            let (file, bounds) = packed(packing);
            for end in 0..file.len() {
                let whole = bounds.iter().any(|b| b.offset == end as u64) && end > 0;
                assert_eq!(unpacked(&file[..end], packing, None).is_ok(), whole, "{packing:?} cut at {end}");
                assert!(unpacked(&file[..end], packing, Some(bounds.clone())).is_err(), "{packing:?} cut at {end}");
            }
            for end in [b"garbage".as_slice(), &[0; 16], &file[..bounds[0].length as usize]] {
                let long = [file.as_slice(), end].concat();
                assert!(unpacked(&long, packing, Some(bounds.clone())).is_err(), "{packing:?} with {end:?}");
            }
            let error = unpacked(&[file.as_slice(), b"garbage of some length"].concat(), packing, None).unwrap_err();
            assert!(error.contains("is no member of it"), "{error}");
            if packing == Packing::Gzip {
                let mut flipped = file.clone();
                flipped[bounds[1].offset as usize + 10] = 0xff; // a kind of block that there is not, behind the head of ten bytes
                let error = unpacked(&flipped, packing, None).unwrap_err();
                assert!(error.contains(&format!("the member at byte {} is damaged", bounds[1].offset)), "{error}");
            }
            let mut flipped = file.clone();
            let middle = bounds[1].offset as usize + bounds[1].length as usize / 2;
            flipped[middle] ^= 1;
            assert!(unpacked(&flipped, packing, None).is_err(), "{packing:?}");
        }
    }

    #[test]
    fn a_member_is_unpacked_in_one_go_or_refused() {
        for packing in [Packing::Gzip, Packing::Zstd, Packing::Plain] {
            let member = Packer::new(packing).unwrap().pack(PARTS[0]).unwrap();
            let mut unpacker = Unpacker::new(packing).unwrap();
            let mut unpacked = |member: &[u8], size: usize| {
                let mut raw = vec![0; size];
                unpacker.unpack_into(member, &mut raw).map(|()| raw).map_err(|e| e.to_string())
            };
            let size = PARTS[0].len();
            assert_eq!(unpacked(&member, size).unwrap(), PARTS[0], "{packing:?}");
            for other in [0, size - 1, size + 1] {
                assert!(unpacked(&member, other).is_err(), "{packing:?} as {other} bytes");
            }
            for end in 0..member.len() {
                assert!(unpacked(&member[..end], size).is_err(), "{packing:?} cut at {end}");
            }
            for end in [b"garbage".as_slice(), &[0; 16], &member] {
                assert!(unpacked(&[&member, end].concat(), size).is_err(), "{packing:?} with {end:?}");
            }
            // The bytes themselves have no digest of their own.
            let flips = if packing == Packing::Plain { 0 } else { member.len() };
            // Of gzip's head only the first three bytes are about the content.
            for at in (0..flips).filter(|at| packing == Packing::Zstd || !(3..10).contains(at)) {
                let mut flipped = member.clone();
                flipped[at] ^= 1;
                assert!(unpacked(&flipped, size).is_err(), "{packing:?} flipped at {at}");
            }
            assert_eq!(unpacked(&member, size).unwrap(), PARTS[0], "{packing:?} after all that");
            // Bytes inside a member that look like the head of another.
            let raw = [GZIP_HEAD, GZIP_HEAD].concat();
            let mut member = Vec::new();
            store_into(&raw, &mut member).unwrap();
            if packing == Packing::Gzip {
                assert_eq!(unpacked(&member, raw.len()).unwrap(), raw);
                assert!(unpacked(&member, raw.len() - 1).is_err() && unpacked(&member, raw.len() + 1).is_err());
            }
        }
    }

    #[test]
    fn equal_bytes_give_equal_members() {
        assert_eq!(packed(Packing::Gzip), packed(Packing::Gzip));
    }

    #[test]
    fn gunzip_unpacks_our_members() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gz");
        std::fs::write(&path, packed(Packing::Gzip).0).unwrap();
        let out = std::process::Command::new("gunzip").arg("-c").arg(&path).output().unwrap();
        assert!(out.status.success());
        assert_eq!(out.stdout, PARTS.concat());
    }
}
