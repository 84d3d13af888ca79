//! Texts that leave the program: without secrets, and with nothing in them that could drive a terminal.

use crate::secret;

/// Cleans a text that has one line.
pub fn line(text: &str) -> String {
    secret::printable(&secret::redact(text), false).into_owned()
}

/// Cleans a text that may have several lines.
pub fn block(text: &str) -> String {
    secret::printable(&secret::redact(text), true).into_owned()
}

/// Shortens a text to `limit` characters and says that it did.
pub fn clipped(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}… (whole in the JSON report)", &text[..end]),
        None => text.to_owned(),
    }
}
