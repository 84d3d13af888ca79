//! What each codec makes of a real stream, in members of 1 MiB on one thread: `cargo bench --bench codecs -- FILE`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench that prints a table and stops at what it cannot do"
)]

use std::io::Write;

use flate2::{Compression, GzBuilder};
use libdeflater::{CompressionLvl, Compressor};

/// The size of a member before packing, as dumps cut them.
const MEMBER: usize = 1 << 20;

fn main() {
    let Some(path) = std::env::args().skip(1).find(|arg| !arg.starts_with("--")) else {
        println!("name a file: the text of a real pg_dump tells most");
        return;
    };
    let text = std::fs::read(&path).unwrap();
    println!("| codec | level | ratio | MB/s in | MB/s out |\n| --- | --- | --- | --- | --- |");
    for level in [1, 2, 3, 4, 6] {
        let pack = |raw: &[u8]| {
            let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(level));
            encoder.write_all(raw).unwrap();
            encoder.finish().unwrap()
        };
        let unpack = |packed: &[u8], _: usize| {
            let mut out = Vec::with_capacity(MEMBER);
            std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut out).unwrap();
            out
        };
        measure("zlib-rs", level as i32, &text, pack, unpack);
    }
    for level in [1, 2, 3, 4, 6] {
        let mut deflater = Compressor::new(CompressionLvl::new(level).unwrap());
        let mut inflater = libdeflater::Decompressor::new();
        let pack = |raw: &[u8]| {
            let mut packed = vec![0; deflater.gzip_compress_bound(raw.len())];
            let size = deflater.gzip_compress(raw, &mut packed).unwrap();
            packed.truncate(size);
            packed
        };
        let unpack = |packed: &[u8], size: usize| {
            let mut out = vec![0; size];
            inflater.gzip_decompress(packed, &mut out).unwrap();
            out
        };
        measure("libdeflate", level, &text, pack, unpack);
    }
    for level in [1, 2, 3, 5] {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        let pack = |raw: &[u8]| compressor.compress(raw).unwrap();
        let unpack = |packed: &[u8], size: usize| zstd::bulk::decompress(packed, size).unwrap();
        measure("zstd", level, &text, pack, unpack);
    }
}

fn measure(
    codec: &str,
    level: i32,
    text: &[u8],
    mut pack: impl FnMut(&[u8]) -> Vec<u8>,
    mut unpack: impl FnMut(&[u8], usize) -> Vec<u8>,
) {
    let begun = on_processor();
    let members: Vec<Vec<u8>> = text.chunks(MEMBER).map(&mut pack).collect();
    let packing = on_processor() - begun;
    let begun = on_processor();
    for (member, raw) in members.iter().zip(text.chunks(MEMBER)) {
        assert!(unpack(member, raw.len()) == raw, "{codec} {level} gave other bytes");
    }
    let unpacking = on_processor() - begun;
    let (raw, packed) = (text.len() as f64, members.iter().map(Vec::len).sum::<usize>() as f64);
    println!("| {codec} | {level} | {:.3} | {:.0} | {:.0} |", packed / raw, raw / 1e6 / packing, raw / 1e6 / unpacking);
}

/// Returns the seconds that this thread ran, whatever else the machine did meanwhile.
fn on_processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
