//! Where an object lies: its bucket and its key, by a URL like `s3://bucket/prefix/`.

use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::secret;

/// No service takes longer keys.
const LONGEST_KEY: usize = 1024;

/// An object's bucket and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key, which is the object's whole name in the bucket.
    pub key: String,
}

impl Place {
    /// Returns where a file goes: below a URL that ends in `/` or names no key it keeps its own name.
    ///
    /// # Errors
    /// `Usage` when it is no URL of S3.
    pub fn of(url: &str, file_name: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let shown = secret::redact(url);
            Error::new(Kind::Usage, format!("\"{}\" is no place in a bucket: {why}", secret::printable(&shown, false)))
                .hint("it looks like s3://bucket/prefix/")
        };
        let rest = url.strip_prefix("s3://").ok_or_else(|| wrong("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let lawful = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(lawful) {
            return Err(wrong("a bucket's name has 3 to 63 small letters, digits, dots and hyphens"));
        }
        let key =
            if prefix.is_empty() || prefix.ends_with('/') { format!("{prefix}{file_name}") } else { prefix.to_owned() };
        if key.len() > LONGEST_KEY || key.chars().any(char::is_control) {
            return Err(wrong("a key has at most 1024 bytes and no control characters"));
        }
        // URLs are tidied up on their way: such a key would become another one.
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong("no part of a key is . or .."));
        }
        Ok(Self { bucket: bucket.to_owned(), key })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, secret::printable(&self.key, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_keeps_the_files_name_and_a_key_gives_another_one() {
        let key = |url: &str| Place::of(url, "a.gz").unwrap().key;
        assert_eq!(key("s3://bucket"), "a.gz");
        assert_eq!(key("s3://bucket/"), "a.gz");
        assert_eq!(key("s3://bucket/database/"), "database/a.gz");
        assert_eq!(key("s3://bucket/database/b.gz"), "database/b.gz");
        assert_eq!(Place::of("s3://bucket/x/", "a.gz").unwrap().to_string(), "s3://bucket/x/a.gz");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for url in ["bucket", "https://bucket/", "s3://", "s3://Bucket/", "s3://b/", "s3://bucket/../x", "s3://a b c/"]
        {
            assert_eq!(Place::of(url, "a.gz").unwrap_err().kind(), Kind::Usage, "{url}");
        }
    }
}
