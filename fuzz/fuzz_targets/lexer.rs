//! Fuzzes what `properties/lexer.rs` says must hold.

#![no_main]

#[path = "../properties/lexer.rs"]
mod lexer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lexer::lexer(bytes));
