//! Reading a tar stream that may be hostile: two programs must never see two different archives in it.
//!
//! The tar crate's own iterator believes an extension record over the header and reads records of any length into
//! memory. Here a record is small, says nothing twice and agrees with the header, or the archive is refused.

use std::io::{self, Read};
use std::path::Path;

use tar::{EntryType, Header};

use super::shown;
use crate::error::{Error, Kind, Result};

const BLOCK: usize = 512;
/// Extension records hold names; longer ones are an attack on memory.
const RECORD_LIMIT: u64 = 1 << 20;
/// The largest size that the eleven octal digits of a plain header can hold.
const OCTAL_LIMIT: u64 = 0o77_777_777_777;
/// The largest size that a file can have.
const FILE_LIMIT: u64 = i64::MAX as u64;

/// One entry's header, with what its extension records said.
#[derive(Debug)]
pub(crate) struct Head {
    /// The name's bytes, unchecked.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: EntryType,
    /// A link's target, unchecked.
    pub(crate) target: Vec<u8>,
    /// The permissions, special bits included.
    pub(crate) mode: u32,
    /// The time of the last write in seconds.
    pub(crate) modified: u64,
    /// The owner's number and the group's.
    pub(crate) owner: (u64, u64),
    /// How many bytes follow.
    pub(crate) size: u64,
}

/// A tar stream. Between two entries [`TarReader::read`] gives the first one's content.
pub(crate) struct TarReader<'a, R> {
    stream: R,
    archive: &'a Path,
    left: u64,
    padding: u64,
}

/// What the records before an entry said about it.
#[derive(Default)]
struct Records {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<u64>,
    owner: Option<u64>,
    group: Option<u64>,
    pax_seen: bool,
}

impl<'a, R: Read> TarReader<'a, R> {
    /// Starts to read; `archive` is what errors call it.
    pub(crate) fn new(stream: R, archive: &'a Path) -> Self {
        Self { stream, archive, left: 0, padding: 0 }
    }

    /// Returns the next entry, or nothing at the archive's proper end.
    pub(crate) fn next(&mut self) -> Result<Option<Head>> {
        self.skip()?;
        let mut records = Records::default();
        loop {
            let Some(header) = self.header()? else {
                return if records.is_empty() { Ok(None) } else { Err(self.damaged("a record belongs to no entry")) };
            };
            let size = self.size(&header)?;
            self.known_to_all(&header, &records)?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let name = self.record(size)?;
                    self.once(&mut records.path, self.until_zero(name)?)?;
                }
                EntryType::GNULongLink => {
                    let name = self.record(size)?;
                    self.once(&mut records.target, self.until_zero(name)?)?;
                }
                EntryType::XHeader => {
                    let record = self.record(size)?;
                    if std::mem::replace(&mut records.pax_seen, true) {
                        return Err(self.damaged("two records describe one entry"));
                    }
                    self.pax(&record, &mut records)?;
                }
                EntryType::XGlobalHeader => {
                    let record = self.record(size)?;
                    self.global(&record)?;
                }
                kind => return self.head(&header, kind, size, records).map(Some),
            }
        }
    }

    fn head(&mut self, header: &Header, kind: EntryType, plain: u64, records: Records) -> Result<Head> {
        let size = match records.size {
            // A size that the header could have held and did not: one reader would see other entries than another.
            Some(size) if size != plain && (size <= OCTAL_LIMIT || plain != 0) => {
                return Err(self.damaged(&format!("an entry has two sizes, {size} and {plain}")));
            }
            Some(size) => size,
            None => plain,
        };
        if size > FILE_LIMIT {
            return Err(self.damaged("an entry claims to be larger than any file"));
        }
        let wrong = |e: io::Error| self.damaged("a header is wrong").because(&e);
        let head = Head {
            path: records.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            kind,
            target: records.target.or_else(|| header.link_name_bytes().map(|t| t.into_owned())).unwrap_or_default(),
            mode: header.mode().map_err(wrong)?,
            modified: match records.modified {
                Some(modified) => modified,
                None => header.mtime().map_err(wrong)?,
            },
            // Other readers take a field that is no number for 0, too.
            owner: (
                records.owner.or_else(|| header.uid().ok()).unwrap_or(0),
                records.group.or_else(|| header.gid().ok()).unwrap_or(0),
            ),
            size,
        };
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        Ok(head)
    }

    /// Reads one header. The end is two blocks of zeros; an archive that just stops was cut.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        if block.iter().all(|b| *b == 0) {
            self.fill(&mut block)?;
            if block.iter().any(|b| *b != 0) {
                return Err(self.damaged("an entry follows the end mark"));
            }
            self.only_zeros()?;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 =
            block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(Some(header)),
            _ => Err(self.damaged("a header's checksum is wrong")),
        }
    }

    /// Returns the size in a header. What other readers take for another number is refused: in base 256 a value below zero
    /// or wider than 64 bits, of which the tar crate reads the lower bits only, and in digits a sign.
    fn size(&self, header: &Header) -> Result<u64> {
        let field = &header.as_old().size;
        let odd = match field[0] & 0x80 {
            0 => field.contains(&b'+'),
            _ => field[..4] != [0x80, 0, 0, 0],
        };
        if odd {
            return Err(self.damaged("a size is written as tar does not write it"));
        }
        header.entry_size().map_err(|e| self.damaged("a size is wrong").because(&e))
    }

    /// Refuses records that some readers take for entries or give to another entry: those in headers of the oldest format,
    /// which knows none, and a global one between another and its entry.
    fn known_to_all(&self, header: &Header, records: &Records) -> Result<()> {
        use EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
        let kind = header.entry_type();
        let old = header.as_ustar().is_none() && header.as_gnu().is_none();
        match kind {
            GNULongName | GNULongLink | XHeader | XGlobalHeader if old => {
                Err(self.damaged("a record stands in a header of a format without records"))
            }
            XGlobalHeader if !records.is_empty() => Err(self.damaged("a global record parts another from its entry")),
            _ => Ok(()),
        }
    }

    /// A name ends at its first zero; what follows would be part of it for others.
    fn until_zero(&self, mut name: Vec<u8>) -> Result<Vec<u8>> {
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        if name[end..].iter().any(|b| *b != 0) {
            return Err(self.damaged("a long name goes on behind its end"));
        }
        name.truncate(end);
        Ok(name)
    }

    /// Reads to the stream's real end. Tar pads with zeros; anything else hides there.
    fn only_zeros(&mut self) -> Result<()> {
        let mut block = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(n) if block[..n].iter().all(|b| *b == 0) => {}
                Ok(_) => return Err(self.damaged("data follows the end mark")),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
    }

    fn record(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > RECORD_LIMIT {
            return Err(self.damaged("a record of names is larger than 1 MiB"));
        }
        let padded = size.next_multiple_of(BLOCK as u64);
        let mut bytes = vec![0; padded as usize]; // at most 1 MiB
        self.fill(&mut bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn once<T>(&self, slot: &mut Option<T>, value: T) -> Result<()> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.damaged("an entry is named twice")),
        }
    }

    fn pax(&self, record: &[u8], records: &mut Records) -> Result<()> {
        for (key, value) in self.pairs(record)? {
            match key {
                b"path" => self.once(&mut records.path, value.to_vec())?,
                b"linkpath" => self.once(&mut records.target, value.to_vec())?,
                b"size" => {
                    let size = number(value).ok_or_else(|| self.damaged("a size is no number"))?;
                    self.once(&mut records.size, size)?;
                }
                // Fractions are dropped; a time before 1970 becomes 1970.
                b"mtime" => {
                    let whole = value.split(|b| *b == b'.').next().unwrap_or(value);
                    records.modified = Some(number(whole).unwrap_or(0));
                }
                b"uid" => records.owner = number(value),
                b"gid" => records.group = number(value),
                key if key.starts_with(b"GNU.sparse.") => return Err(self.damaged("sparse files are not taken")),
                _ => {} // names of owners, access times, attributes: stripped
            }
        }
        Ok(())
    }

    /// A global record may comment, but not rename every entry that follows.
    fn global(&self, record: &[u8]) -> Result<()> {
        let pairs = self.pairs(record)?;
        let renames = |key: &[u8]| matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
        if pairs.iter().any(|(key, _)| renames(key)) {
            return Err(self.damaged("a global record renames entries"));
        }
        Ok(())
    }

    /// Splits a record into its pairs by their lengths: a value may hold line ends.
    fn pairs<'r>(&self, mut record: &'r [u8]) -> Result<Vec<(&'r [u8], &'r [u8])>> {
        let mut pairs = Vec::new();
        while !record.is_empty() {
            let (pair, rest) = pair(record).ok_or_else(|| self.damaged("a record's lengths are wrong"))?;
            pairs.push(pair);
            record = rest;
        }
        Ok(pairs)
    }

    /// Passes over what is left of the last entry.
    fn skip(&mut self) -> Result<()> {
        let mut block = [0; 16 << 10];
        while self.left + self.padding > 0 {
            let n = block.len().min(usize::try_from(self.left + self.padding).unwrap_or(block.len()));
            self.fill(&mut block[..n])?;
            let content = (n as u64).min(self.left);
            self.left -= content;
            self.padding -= n as u64 - content;
        }
        Ok(())
    }

    /// Reads a part of the entry's content; 0 is its end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.stream.read(&mut into[..most]) {
                Ok(0) => return Err(self.damaged("it ends within a file")),
                Ok(n) => {
                    self.left -= n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(e)),
            }
        }
    }

    fn fill(&mut self, block: &mut [u8]) -> Result<()> {
        self.stream.read_exact(block).map_err(|e| self.broken(e))
    }

    fn broken(&self, cause: io::Error) -> Error {
        match cause.downcast::<Error>() {
            Ok(ours) => ours,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => self.damaged("it ends early"),
            Err(e) if e.raw_os_error().is_some() => Error::io("read", self.archive, &e),
            Err(e) => self.damaged("it could not be unpacked").because(&e),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        let name = shown(self.archive);
        Error::new(Kind::Damaged, format!("the archive {name} is damaged or hostile")).on(name).caused_by(why)
    }

    /// Returns the stream underneath.
    pub(crate) fn into_inner(self) -> R {
        self.stream
    }
}

impl Records {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.target.is_none() && !self.pax_seen
    }
}

type Pair<'r> = (&'r [u8], &'r [u8]);

/// Takes `LENGTH KEY=VALUE\n` off the front.
fn pair(record: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let space = record.iter().position(|b| *b == b' ')?;
    let length = usize::try_from(number(&record[..space])?).ok()?;
    let (one, rest) = record.split_at_checked(length)?;
    let body = one.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some(((&body[..equals], &body[equals + 1..]), rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
