//! Secrets: values that can be used but never shown, and the redaction of every text that leaves the program.

use std::borrow::Cow;
use std::sync::RwLock;

use zeroize::Zeroizing;

/// What stands in a text where a secret stood.
pub const MASK: &str = "[secret]";

/// Shorter values are not redacted: masking every "a" would hide the report and show the secret's place.
const SHORTEST: usize = 4;

static KNOWN: RwLock<Vec<Zeroizing<String>>> = RwLock::new(Vec::new());

/// A value that has no `Debug` and no `Display` and that [`redact`] knows from the moment it exists.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a value in and makes every later text hide it.
    pub fn new(value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        remember(&value);
        Self(value)
    }

    /// Returns the value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Remembers the value and the forms in which it commonly leaks: URL-encoded and base64.
fn remember(value: &str) {
    if value.len() < SHORTEST {
        return;
    }
    let mut known = KNOWN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    for form in [value.to_owned(), url_encoded(value), base64(value.as_bytes())] {
        if !known.iter().any(|k| **k == form) {
            known.push(Zeroizing::new(form));
        }
    }
    // Longest first, so that a secret that holds another one is hidden whole.
    known.sort_by_key(|k| std::cmp::Reverse(k.len()));
}

/// Learns the password of a URL (`scheme://user:password@host`) or of a list of settings (`password=…`), wherever in a
/// text it stands, so that no later text shows it.
pub fn learn_from(text: &str) {
    for part in text.split_whitespace() {
        let credentials = part.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next()?.rsplit_once('@'));
        if let Some((_, password)) = credentials.and_then(|(user, _)| user.split_once(':')) {
            remember(password);
            remember(&url_decoded(password));
        }
        if let Some((_, value)) = part.split_once("password=") {
            let value = value.split(['&', '\'']).find(|v| !v.is_empty()).unwrap_or_default();
            remember(value);
            remember(&url_decoded(value));
        }
    }
}

/// Returns `text` with every known secret masked.
pub fn redact(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut out = Cow::Borrowed(text);
    for secret in known.iter() {
        if out.contains(secret.as_str()) {
            out = Cow::Owned(out.replace(secret.as_str(), MASK));
        }
    }
    out
}

/// Masks every known secret in the strings of a JSON value; keys are ours and stay.
pub fn redact_json(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            if let Cow::Owned(masked) = redact(text) {
                *text = masked;
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(redact_json),
        serde_json::Value::Object(map) => map.values_mut().for_each(redact_json),
        _ => {}
    }
}

/// Returns `text` with control and direction-changing characters written as escapes, so that a name from a hostile
/// database cannot drive the terminal. New lines and tabs stay when `multiline` is set.
pub fn printable(text: &str, multiline: bool) -> Cow<'_, str> {
    let bad = |c: char| {
        (c.is_control() && !(multiline && matches!(c, '\n' | '\t')))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 8), |mut out, c| {
            if bad(c) {
                out.extend(c.escape_default())
            } else {
                out.push(c)
            }
            out
        })
        .into()
}

fn url_encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
            out.push(b as char);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn url_decoded(value: &str) -> String {
    let mut out = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let six = (n >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { ALPHABET[six as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_raw_and_encoded() {
        let secret = Secret::new("p@ss/w0rd canary");
        let text =
            format!("raw {} url p%40ss%2Fw0rd%20canary b64 {}", secret.expose(), base64(secret.expose().as_bytes()));
        assert_eq!(redact(&text), format!("raw {MASK} url {MASK} b64 {MASK}"));
    }

    #[test]
    fn a_password_in_a_url_or_a_setting_is_learnt() {
        learn_from("postgres://app:h%40rd-canary@db:5432/x");
        learn_from("host=db password=set-canary dbname=x");
        let text = "h%40rd-canary h@rd-canary set-canary app db";
        assert_eq!(redact(text), format!("{MASK} {MASK} {MASK} app db"));
    }

    #[test]
    fn base64_agrees_with_the_standard() {
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(b"Ma"), "TWE=");
        assert_eq!(base64(b"M"), "TQ==");
    }

    #[test]
    fn names_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}", false), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(printable("two\nlines", true), "two\nlines");
        assert_eq!(printable("two\nlines", false), "two\\nlines");
    }
}
