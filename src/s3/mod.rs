//! Objects in a bucket of S3 or of what speaks its protocol: a file is uploaded, and only then said to be there when the
//! service's own checksum or every byte read back says so.

mod client;
mod place;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusty_s3::Method;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};
use crate::files::digest::{Digest, Hasher};
use crate::files::{self, BLOCK, go_on, shown};
use crate::progress::Progress;
use crate::secret::Secret;
use client::{Answer, Ask, Client, Content, Part};
pub use place::Place;

/// A larger file goes in parts.
const ONE_PIECE: u64 = 64 << 20;
const PART: u64 = 16 << 20;
/// No service takes more parts of one object.
const MOST_PARTS: u64 = 10_000;
/// Giving up parts after a failure takes no longer.
const ABORT: Duration = Duration::from_secs(10);

const CHECKSUM: &str = "x-amz-checksum-sha256";

/// Who uploads, and to which service.
pub struct Access {
    /// The id of the key.
    pub key: Secret,
    /// The key.
    pub secret: Secret,
    /// What belongs to a key for a short time.
    pub token: Option<Secret>,
    /// The region that signatures name.
    pub region: String,
    /// The service's URL; without it that of AWS in the region.
    pub endpoint: Option<String>,
}

/// An object that is there and whole.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// What the service calls this version of its content.
    pub etag: String,
    /// How it was verified: by the service's `checksum`, or `read back`.
    pub verified: &'static str,
}

/// Uploads a file and verifies it. An object of that name is replaced at once, or not at all.
///
/// # Errors
/// Whatever keeps the object from being there whole; parts that were sent are given up.
pub fn upload(
    access: &Access,
    path: &Path,
    place: &Place,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Uploaded> {
    let (file, facts) = files::open(path)?;
    progress.set_total(facts.len());
    let client = Client::new(access, place)?;
    let sending = Sending { client, file, path, size: facts.len(), place, progress, cancel };
    let (sha256, checksum) = if sending.size <= ONE_PIECE { sending.in_one()? } else { sending.in_parts()? };
    sending.verify(sha256, checksum.as_deref())
}

struct Sending<'a> {
    client: Client<'a>,
    file: File,
    path: &'a Path,
    size: u64,
    place: &'a Place,
    progress: &'a Progress,
    cancel: &'a CancellationToken,
}

impl Sending<'_> {
    /// Sends the file as one request. Returns its digest and the checksum that the service must have.
    fn in_one(&self) -> Result<(Digest, Option<String>)> {
        let mut whole = Hasher::default();
        let sha256 = self.digest(0, self.size, &mut whole)?;
        let checksum = STANDARD.encode(sha256.as_bytes());
        let headers = [(CHECKSUM, checksum.as_str())];
        self.send(&Ask { doing: "upload to", method: Method::Put, query: &[], headers: &headers }, 0, self.size)?;
        Ok((sha256, Some(checksum)))
    }

    /// Sends the file in parts. The checksum that services make of their checksums differs from service to service, so it is
    /// read back: none is returned.
    fn in_parts(&self) -> Result<(Digest, Option<String>)> {
        let headers = [("x-amz-checksum-algorithm", "SHA256")];
        let ask =
            Ask { doing: "begin the upload of", method: Method::Post, query: &[("uploads", "")], headers: &headers };
        let begun = self.client.trying(self.cancel, |_| self.client.ask(&ask, Content::Text("")))?;
        let id = begun.element("UploadId").filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| self.client.failed(ask.doing, Kind::Network, "it gave the upload no id"))?;
        let id = unescaped(id);
        let sent = self.parts(&id).and_then(|(sha256, parts)| self.complete(&id, &parts).map(|()| sha256));
        match sent {
            Ok(sha256) => Ok((sha256, None)),
            Err(failure) => Err(self.give_up(&id, failure)),
        }
    }

    /// Sends all parts and returns the file's digest and the list that completes the upload.
    fn parts(&self, id: &str) -> Result<(Digest, String)> {
        let (mut whole, mut list, step) = (Hasher::default(), String::new(), part_size(self.size));
        for (number, at) in (1..).zip((0..self.size).step_by(usize::try_from(step).unwrap_or(usize::MAX))) {
            let end = self.size.min(at + step);
            let checksum = STANDARD.encode(self.digest(at, end, &mut whole)?.as_bytes());
            let (headers, number) = ([(CHECKSUM, checksum.as_str())], u64::to_string(&number));
            let query = [("partNumber", number.as_str()), ("uploadId", id)];
            let ask = Ask { doing: "upload a part to", method: Method::Put, query: &query, headers: &headers };
            let answer = self.send(&ask, at, end)?;
            let etag = answer.header("etag").map(escaped);
            let etag = etag.ok_or_else(|| self.client.failed(ask.doing, Kind::Network, "it gave a part no ETag"))?;
            list += &format!(
                "<Part><ChecksumSHA256>{checksum}</ChecksumSHA256><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
            );
        }
        Ok((whole.finish(), list))
    }

    /// Makes the parts one object. A service may say 200 and tell of a failure afterwards.
    fn complete(&self, id: &str, parts: &str) -> Result<()> {
        let body = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
        );
        let (doing, query) = ("complete the upload of", [("uploadId", id)]);
        let ask = Ask { doing, method: Method::Post, query: &query, headers: &[] };
        self.client.trying(self.cancel, |tries| {
            let answer = self.client.ask_any(&ask, Content::Text(&body))?;
            // An earlier try arrived and only its answer was lost: what is there now is read back anyhow.
            if tries > 0 && answer.status == 404 {
                return Ok(());
            }
            let answer = self.client.judge(doing, answer)?;
            // Services write their result in different ways. What is there is read back, so only an error ends it here.
            if !answer.body.contains("<Error") && answer.element("Code").is_none() {
                return Ok(());
            }
            let code =
                answer.element("Code").filter(|c| c.chars().all(|c| c.is_ascii_alphanumeric())).unwrap_or("an error");
            let why = format!("it answered with status {} and in it {code}", answer.status);
            Err(self.client.failed(doing, Kind::Network, &why).hint("the service has a problem: run it again later"))
        })
    }

    /// Removes the parts that were sent, also when the run was stopped, and returns the failure.
    fn give_up(&self, id: &str, failure: Error) -> Error {
        let query = [("uploadId", id)];
        let ask = Ask { doing: "give up the upload of", method: Method::Delete, query: &query, headers: &[] };
        match self.client.within(ABORT).ask(&ask, Content::Nothing) {
            Ok(_) => failure,
            Err(left) => failure.caused_by(format!(
                "its parts may be left in the bucket, where they cost: {}",
                left.causes().first().map_or("", String::as_str)
            )),
        }
    }

    /// Sends a range of the file, up to three times.
    fn send(&self, ask: &Ask, at: u64, end: u64) -> Result<Answer> {
        let Self { file, path, progress, cancel, .. } = self;
        self.client.trying(cancel, |tries| {
            let part = Part { file, path, at, end, progress, cancel, again: tries > 0, broken: None };
            self.client.ask(ask, Content::Part(part))
        })
    }

    /// Returns the digest of a range, and adds it to that of the whole file.
    fn digest(&self, mut at: u64, end: u64, whole: &mut Hasher) -> Result<Digest> {
        let (mut hasher, mut block) = (Hasher::default(), vec![0; BLOCK]);
        while at < end {
            go_on(self.cancel, &format!("reading {}", shown(self.path)))?;
            let most = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let read = match self.file.read_at(&mut block[..most], at) {
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter meanwhile")),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read,
            };
            let read = read.map_err(|e| Error::io("read", self.path, &e))?;
            hasher.update(&block[..read]);
            whole.update(&block[..read]);
            at += read as u64;
        }
        Ok(hasher.finish())
    }

    /// Looks at what is there now: its size, and the service's checksum or else every byte.
    fn verify(&self, sha256: Digest, checksum: Option<&str>) -> Result<Uploaded> {
        let doing = "verify the upload of";
        let headers = [("x-amz-checksum-mode", "ENABLED")];
        let ask = Ask { doing, method: Method::Head, query: &[], headers: &headers };
        let there = self.client.trying(self.cancel, |_| self.client.ask(&ask, Content::Nothing))?;
        let size = there.header("content-length").and_then(|size| size.parse::<u64>().ok());
        if size != Some(self.size) {
            let size = size.map_or("an unknown number of".to_owned(), |size| size.to_string());
            return Err(self.other(&format!("it has {size} bytes there, and here {}", self.size)));
        }
        let verified = match (checksum, there.header(CHECKSUM)) {
            (Some(ours), Some(theirs)) if ours == theirs => "checksum",
            (Some(_), Some(_)) => return Err(self.other("its SHA-256 there is another one")),
            _ if self.read_back()? == sha256 => "read back",
            _ => return Err(self.other("what comes back has another SHA-256")),
        };
        let etag = there.header("etag").unwrap_or_default().trim_matches('"').to_owned();
        Ok(Uploaded { size: self.size, sha256, etag, verified })
    }

    fn other(&self, why: &str) -> Error {
        let failure = self.client.failed("verify the upload of", Kind::Damaged, why);
        failure.hint(format!("do not count on {}: remove it and upload again", self.place))
    }

    /// Returns the digest of the object, of which nothing is kept.
    fn read_back(&self) -> Result<Digest> {
        let doing = "read back";
        let ask = Ask { doing, method: Method::Get, query: &[], headers: &[] };
        self.client.trying(self.cancel, |_| {
            let answer = self.client.send(&ask, Content::Nothing)?;
            let (facts, body) = answer.into_parts();
            let status = facts.status.as_u16();
            if status != 200 {
                self.client.judge(doing, Answer { status, headers: facts.headers, body: String::new() })?;
                return Err(self.other(&format!("it came back with status {status}")));
            }
            let (mut body, mut hasher, mut block) = (body.into_reader(), Hasher::default(), vec![0; BLOCK]);
            loop {
                go_on(self.cancel, &format!("reading back {}", self.place))?;
                let read = body.read(&mut block).map_err(|e| {
                    self.client.failed(doing, Kind::Network, &format!("it broke off: {}", e.kind())).retryable()
                })?;
                if read == 0 {
                    return Ok(hasher.finish());
                }
                hasher.update(&block[..read]);
                self.progress.keep_pace(read as u64);
            }
        })
    }
}

/// Returns the size of parts with which a file stays below the number that services take.
fn part_size(size: u64) -> u64 {
    PART.max(size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_16_mib_until_there_would_be_too_many() {
        assert_eq!(part_size(ONE_PIECE + 1), PART);
        assert_eq!(part_size(PART * MOST_PARTS), PART);
        let large = PART * MOST_PARTS + 1;
        assert!(part_size(large) > PART && large.div_ceil(part_size(large)) <= MOST_PARTS);
    }
}
