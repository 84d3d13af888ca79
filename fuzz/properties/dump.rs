//! What holds for every text that is given to the dump reader.

use std::fs;

use runner::error::Kind;
use runner::files::members::{Packer, Packing};
use runner::postgres::dump_text::{DumpReader, Event};
use runner::postgres::inspect;
use runner::progress::Progress;
use tokio_util::sync::CancellationToken;

use super::drip::Drip;
use super::room::{number_of, room};

/// How many cuts of a dump are tried; of a shorter one all are. Each starts a reader with a buffer of a megabyte.
const CUTS: usize = 24;
/// Up to this size every cut is tried.
const SHORT: usize = 200;

/// What is read does not depend on how the bytes arrive, no byte is lost, no row is miscounted, no cut passes as whole,
/// and packed it reads the same or is refused.
pub(crate) fn dump(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    for step in [1, 7, 4096] {
        let other = read(bytes, step);
        assert_eq!(other.whole, whole.whole, "reads of {step} bytes change the verdict");
        // What is wrong far behind is seen early where much is read at once; until then they tell the same.
        let common = other.events.len().min(whole.events.len());
        assert_eq!(other.events[..common], whole.events[..common], "reads of {step} bytes change the events");
        assert!(!whole.whole || other.events == whole.events, "reads of {step} bytes change the events");
    }
    if whole.whole {
        no_cut_passes(bytes, &whole);
        packed_reads_the_same(bytes, &whole);
    }
}

/// What a reader told: every statement, every single row, every end.
struct Told {
    events: Vec<String>,
    rows: u64,
    whole: bool,
}

fn read(bytes: &[u8], step: usize) -> Told {
    let mut reader = DumpReader::new(Drip::new(bytes, step));
    let mut told = Told { events: Vec::new(), rows: 0, whole: false };
    let (mut passed, mut block) = (0, None);
    loop {
        assert!(reader.line() > 0);
        let item = match reader.read() {
            Ok(Some(item)) => item,
            Ok(None) => break,
            Err(e) => {
                assert_eq!(e.kind(), Kind::Damaged, "{e}");
                assert!(!told.whole, "an error after the end: {e}");
                return told;
            }
        };
        assert!(!told.whole, "an event after the end");
        assert!(bytes[passed..].starts_with(item.raw), "other bytes than were given");
        passed += item.raw.len();
        let event = match item.event {
            Event::Restrict(key) => format!("restrict {key}"),
            Event::Unrestrict(key) => format!("unrestrict {key}"),
            Event::Statement { text, entry } => {
                assert!(text.ends_with(';') && item.raw.ends_with(text.as_bytes()), "{text:?} is no statement");
                format!("{:?} {entry:?} {text}", item.section)
            }
            Event::CopyStart { head, text, entry } => {
                assert_eq!(block.replace(0), None, "rows begin in rows");
                assert!(item.raw.ends_with(format!("{text}\n").as_bytes()), "{text:?} is no line");
                format!("{entry:?} {text} {head:?}")
            }
            Event::CopyRows(rows) => {
                assert_eq!((rows, rows.last()), (item.raw, Some(&b'\n')), "a row is not whole");
                let rows = rows[..rows.len() - 1].split(|b| *b == b'\n').map(|row| format!("row {row:?}"));
                let before = told.events.len();
                told.events.extend(rows);
                *block.as_mut().expect("rows stand in a COPY") += (told.events.len() - before) as u64;
                continue;
            }
            Event::CopyEnd { rows } => {
                assert_eq!(block.take(), Some(rows), "rows are miscounted");
                told.rows += rows;
                format!("{rows} rows")
            }
            Event::Complete => {
                told.whole = true;
                "complete".into()
            }
        };
        told.events.push(event);
    }
    assert!(told.whole && passed == bytes.len() && block.is_none(), "it ends before the end");
    assert!(matches!(reader.read(), Ok(None)), "something comes after the end");
    told
}

/// A dump whose end is missing is refused, unless all that is missing says nothing.
fn no_cut_passes(bytes: &[u8], whole: &Told) {
    let number = number_of(bytes);
    // Half of the cuts near the end, where the words stand that say it is whole.
    let place = |cut: usize| match cut % 2 {
        0 => bytes.len().saturating_sub(cut / 2 + 1),
        _ => (number / cut) % bytes.len(),
    };
    let cuts: Vec<usize> =
        if bytes.len() <= SHORT { (0..bytes.len()).collect() } else { (0..CUTS).map(place).collect() };
    for at in cuts {
        let told = read(&bytes[..at], usize::MAX);
        assert!(!told.whole || told.events == whole.events, "the dump passes as whole when it is cut at byte {at}");
    }
}

/// Read from a file, packed or not, it holds the same rows; with a byte changed in the packed file it does or is refused.
fn packed_reads_the_same(bytes: &[u8], whole: &Told) {
    let room = room();
    let (first, second) = bytes.split_at(number_of(bytes) % bytes.len());
    for (packing, name) in [(Packing::Plain, "d.sql"), (Packing::Gzip, "d.sql.gz"), (Packing::Zstd, "d.sql.zst")] {
        let path = room.path().join(name);
        let mut packer = Packer::new(packing).expect("there is a packer");
        let mut file = [first, second].map(|part| packer.pack(part).expect("memory takes everything")).concat();
        fs::write(&path, &file).expect("the folder is ours");
        let inspect = || inspect(&path, &Progress::default(), &CancellationToken::new());
        let seen = inspect().expect("what reads as text reads as a file");
        assert_eq!((seen.raw_size, seen.rows.values().sum::<u64>()), (bytes.len() as u64, whole.rows), "{name}");
        if packing != Packing::Plain {
            let at = number_of(bytes) % file.len();
            file[at] ^= 1 << (at % 8);
            fs::write(&path, &file).expect("the folder is ours");
            let rows = inspect().map(|seen| (seen.raw_size, seen.rows.values().sum::<u64>()));
            let refused = rows.is_err();
            let same = rows.is_ok_and(|rows| rows == (bytes.len() as u64, whole.rows));
            assert!(same || refused, "{name} changed at byte {at}");
        }
    }
}
