//! Fuzzes what `properties/archive.rs` says must hold.

#![no_main]

#[path = "../properties/archive.rs"]
mod archive;
#[path = "../properties/drip.rs"]
mod drip;
#[path = "../properties/room.rs"]
mod room;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| archive::archive(bytes));
