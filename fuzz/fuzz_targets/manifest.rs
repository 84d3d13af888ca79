//! Fuzzes what `properties/manifest.rs` says must hold.

#![no_main]

#[path = "../properties/manifest.rs"]
mod manifest;
#[path = "../properties/room.rs"]
mod room;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| manifest::manifest(bytes));
