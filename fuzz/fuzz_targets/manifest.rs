//! Fuzzes what `properties/manifest.rs` says must hold.

#![no_main]

#[path = "../properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::manifest::manifest(bytes));
