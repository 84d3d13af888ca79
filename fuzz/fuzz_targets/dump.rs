//! Fuzzes what `properties/dump.rs` says must hold.

#![no_main]

#[path = "../properties/drip.rs"]
mod drip;
#[path = "../properties/dump.rs"]
mod dump;
#[path = "../properties/room.rs"]
mod room;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dump::dump(bytes));
