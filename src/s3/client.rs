//! Signed requests to one object: sent, tried again where that may help, and their failures in our own words.
//!
//! A signed URL is as good as a key while it is valid, so no error of the library, which may hold it, is shown.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusty_s3::signing::sign;
use rusty_s3::{Bucket, Method, UrlStyle};
use tokio_util::sync::CancellationToken;
use ureq::http::{HeaderMap, Request, Response};
use ureq::{Agent, Body, SendBody};
use url::Url;

use super::{Access, Place};
use crate::error::{Error, Kind, Result};
use crate::files::{BLOCK, go_on};
use crate::progress::Progress;

/// A connection that moves nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(15);
/// How long a signature is valid.
const VALID: u64 = 3600;
/// The waits before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];
/// How often a wait looks whether the run was stopped.
const SLICE: Duration = Duration::from_millis(50);
/// More of an answer in XML is not read.
const ANSWER_LIMIT: u64 = 64 << 10;

/// One request, without its body. Names of the query and of headers are sorted, as signatures need them.
pub(super) struct Ask<'a> {
    pub(super) doing: &'static str,
    pub(super) method: Method,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'a str, &'a str)],
}

/// What a request carries.
pub(super) enum Content<'a> {
    Nothing,
    Text(&'a str),
    Part(Part<'a>),
}

/// A range of a file on its way.
pub(super) struct Part<'a> {
    pub(super) file: &'a std::fs::File,
    pub(super) path: &'a Path,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) progress: &'a Progress,
    pub(super) cancel: &'a CancellationToken,
    /// Whether these bytes were counted by an earlier try.
    pub(super) again: bool,
    /// Why the file could not be read, which no other try mends.
    pub(super) broken: Option<Error>,
}

impl Read for Part<'_> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(block.len()).min(BLOCK);
        let read = match self.file.read_at(&mut block[..most], self.at) {
            Ok(0) if most > 0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter meanwhile")),
            read => read,
        };
        let read = read.inspect_err(|e| self.broken = Some(Error::io("read", self.path, e)))?;
        self.at += read as u64;
        if self.again {
            self.progress.keep_pace(read as u64)
        } else {
            self.progress.add(read as u64)
        }
        Ok(read)
    }
}

/// What came back, small enough to be looked at.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the text of an XML element that stands once.
    pub(super) fn element(&self, name: &str) -> Option<&str> {
        let (_, after) = self.body.split_once(&format!("<{name}>"))?;
        Some(after.split_once(&format!("</{name}>"))?.0.trim())
    }

    /// Returns the service's own word for a failure, if it is one.
    fn code(&self) -> Option<&str> {
        self.element("Code").filter(|code| code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric()))
    }
}

/// Speaks about one object.
pub(super) struct Client<'a> {
    agent: Agent,
    bucket: Bucket,
    access: &'a Access,
    place: &'a Place,
}

impl<'a> Client<'a> {
    pub(super) fn new(access: &'a Access, place: &'a Place) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(Kind::Usage, format!("the endpoint of the object storage is wrong: {why}"))
                .hint("it looks like https://minio.example.com:9000, in `endpoint` or AWS_ENDPOINT_URL_S3")
        };
        let own = access.endpoint.is_some();
        let endpoint = access.endpoint.clone().unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", access.region));
        let endpoint: Url = endpoint.parse().map_err(|_| wrong("it is no URL"))?;
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(wrong("a name and password in it would end up in logs"));
        }
        // A dot in a bucket's name fits no certificate as part of a host.
        let style = if own || place.bucket.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, place.bucket.clone(), access.region.clone())
            .map_err(|_| wrong("it needs http or https, and a host"))?;
        Ok(Self { agent: agent(None), bucket, access, place })
    }

    /// Returns the same client for a last request that may take no longer than `limit`.
    pub(super) fn within(&self, limit: Duration) -> Self {
        Self { agent: agent(Some(limit)), bucket: self.bucket.clone(), access: self.access, place: self.place }
    }

    /// Does work up to three times: a server's error, a broken connection and silence may pass.
    pub(super) fn trying<T>(&self, cancel: &CancellationToken, mut work: impl FnMut(usize) -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            go_on(cancel, &format!("the upload to {}", self.place))?;
            let failure = match work(tries) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            go_on(cancel, &format!("the upload to {}", self.place))?;
            match PAUSES.get(tries).filter(|_| failure.is_retryable()) {
                Some(pause) => wait(*pause, cancel),
                None if failure.is_retryable() => return Err(failure.caused_by("all 3 tries ended so")),
                None => return Err(failure),
            }
            tries += 1;
        }
    }

    /// Sends a request and returns what it was answered, if that is a success.
    pub(super) fn ask(&self, ask: &Ask, content: Content) -> Result<Answer> {
        let answer = self.ask_any(ask, content)?;
        self.judge(ask.doing, answer)
    }

    /// Sends a request and returns what it was answered, success or not.
    pub(super) fn ask_any(&self, ask: &Ask, content: Content) -> Result<Answer> {
        let answer = self.send(ask, content)?;
        let (facts, body) = answer.into_parts();
        let mut bytes = Vec::new();
        let read = body.into_reader().take(ANSWER_LIMIT).read_to_end(&mut bytes);
        read.map_err(|e| {
            self.failed(ask.doing, Kind::Network, &format!("the answer broke off: {}", e.kind())).retryable()
        })?;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answer { status: facts.status.as_u16(), headers: facts.headers, body })
    }

    /// Sends a request and returns the answer with its body still to be read.
    pub(super) fn send(&self, ask: &Ask, content: Content) -> Result<Response<Body>> {
        let url = self.signed(ask);
        let request = ask
            .headers
            .iter()
            .fold(Request::builder().method(ask.method.to_str()).uri(url.as_str()), |r, (n, v)| r.header(*n, *v));
        let unfit = |_| self.failed(ask.doing, Kind::Usage, "the request could not be made");
        let sent = match content {
            Content::Nothing => self.agent.run(request.body(()).map_err(unfit)?),
            Content::Text(text) => self.agent.run(request.body(text).map_err(unfit)?),
            Content::Part(mut part) => {
                // A refusal is to be heard before the bytes are sent and the connection is torn.
                let request = request.header("content-length", part.end - part.at).header("expect", "100-continue");
                let sent = self.agent.run(request.body(SendBody::from_reader(&mut part)).map_err(unfit)?);
                if let Some(broken) = part.broken {
                    return Err(broken);
                }
                sent
            }
        };
        sent.map_err(|e| self.not_sent(ask.doing, &e))
    }

    fn signed(&self, ask: &Ask) -> Url {
        let url = self.bucket.object_url(&self.place.key);
        let Access { key, secret, token, region, .. } = self.access;
        let (key, secret, token) = (key.expose(), secret.expose(), token.as_ref().map(|t| t.expose()));
        let (query, headers) = (ask.query.iter().copied(), ask.headers.iter().copied());
        sign(&jiff::Timestamp::now(), ask.method, url, key, secret, token, region, VALID, query, headers)
    }

    /// Says what an answer means.
    pub(super) fn judge(&self, doing: &str, answer: Answer) -> Result<Answer> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let code = answer.code().map(|code| format!(" {code}")).unwrap_or_default();
        let failure = self.failed(doing, Kind::Network, &format!("it answered with status {}{code}", answer.status));
        let failure = failure.hint(hint(answer.status, answer.code(), self.access, self.place));
        Err(if answer.status >= 500 { failure.retryable() } else { failure })
    }

    fn not_sent(&self, doing: &str, cause: &ureq::Error) -> Error {
        let (kind, why) = match cause {
            ureq::Error::Timeout(_) => (Kind::Timeout, "there was no answer in time".into()),
            ureq::Error::Io(e) if e.kind() == io::ErrorKind::TimedOut => {
                (Kind::Timeout, "nothing moved any more".into())
            }
            ureq::Error::Io(e) => (Kind::Network, format!("the connection broke: {}", e.kind())),
            ureq::Error::ConnectionFailed => (Kind::Network, "no connection came about".into()),
            ureq::Error::HostNotFound => (Kind::Network, "its host is not known".into()),
            // A connection that ends before the answer's first line is no HTTP either.
            ureq::Error::Protocol(_) => (Kind::Network, "what answered broke off or does not speak HTTP".into()),
            ureq::Error::Rustls(e) => {
                return self
                    .failed(doing, Kind::Network, &e.to_string())
                    .hint("look at the certificate of the endpoint");
            }
            ureq::Error::Tls(why) => {
                return self.failed(doing, Kind::Network, why).hint("look at the certificate of the endpoint");
            }
            _ => {
                return self.failed(doing, Kind::Network, "the request could not be made").hint("look at the endpoint");
            }
        };
        self.failed(doing, kind, &why).hint("look at the network and at the endpoint, then run it again").retryable()
    }

    /// Makes an error of our own words.
    pub(super) fn failed(&self, doing: &str, kind: Kind, why: &str) -> Error {
        Error::new(kind, format!("could not {doing} {}", self.place)).on(self.place.to_string()).caused_by(why)
    }
}

fn agent(limit: Option<Duration>) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(limit)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        // Services close what idles while the next part is read.
        .max_idle_connections(0)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("runner/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

fn wait(pause: Duration, cancel: &CancellationToken) {
    let until = Instant::now() + pause;
    while !cancel.is_cancelled() && Instant::now() < until {
        thread::sleep(SLICE);
    }
}

fn hint(status: u16, code: Option<&str>, access: &Access, place: &Place) -> String {
    match (status, code.unwrap_or_default()) {
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch") => {
            "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: they do not belong together or not to this endpoint"
                .into()
        }
        (_, "ExpiredToken" | "InvalidToken") => "renew the keys and AWS_SESSION_TOKEN".into(),
        (_, "RequestTimeTooSkewed") => "set the clock of this machine".into(),
        (_, "NoSuchBucket") => format!("make the bucket {}, or correct its name or the endpoint", place.bucket),
        (300..=399, _) | (_, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError") => {
            format!("the bucket may be of another region than {}: set AWS_REGION", access.region)
        }
        (401 | 403, _) => format!(
            "the key needs s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on {}/{}",
            place.bucket, place.key
        ),
        (500.., _) => "the service has a problem: run it again later".into(),
        _ => "look at the bucket, the key and the endpoint".into(),
    }
}
