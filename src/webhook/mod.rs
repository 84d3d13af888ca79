//! Notices by webhook: JSON that Slack, Mattermost and Microsoft Teams accept, sent where it may go and nowhere else.
//!
//! The URL is a secret: whoever has it can post. The host is resolved once and that very address is connected to, so a
//! name cannot lead to one place when it is checked and to another when it is used. Redirects are not followed, proxies
//! from the environment not used, and no answer's body is read or shown.

mod payload;
mod reach;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};
use payload::body;
use reach::{Reach, reach};

/// All attempts together take no longer.
const LIMIT: Duration = Duration::from_secs(10);
/// The waits before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// A shorter path is no secret: hiding it would mask innocent words.
const SECRET_PATH: usize = 16;
/// At most this many addresses of a host are tried.
const ADDRESSES: usize = 4;

/// Hosts of Microsoft Teams' Workflows, which take nothing but Adaptive Cards.
const CARD_HOSTS: [&str; 6] = [
    ".webhook.office.com",
    "outlook.office.com",
    ".logic.azure.com",
    ".powerautomate.com",
    ".powerplatform.com",
    "flow.microsoft.com",
];

/// Where notices may go beyond the rule: https to public addresses, anything to this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permissions {
    /// Whether a notice may travel unencrypted to other machines.
    pub plain_http: bool,
    /// Whether it may go to private, shared and link-local addresses.
    pub private_addresses: bool,
}

/// What is told.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about, in a few words.
    pub title: String,
    /// How it ended: `passed`, `failed` …
    pub status: String,
    /// More, in plain text.
    pub text: String,
}

/// A notice arrived: the service said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The HTTP status, 200 to 299.
    pub status: u16,
    /// How many attempts it took.
    pub attempts: u32,
}

/// A place for notices.
#[derive(Clone)]
pub struct Webhook {
    url: Secret,
    shown: String,
    uri: Uri,
    permissions: Permissions,
}

impl Webhook {
    /// Takes in a URL and hides it from every text from now on.
    pub fn new(url: &str, permissions: Permissions) -> Result<Self> {
        let secret = Secret::new(url);
        let wrong = |why: &str| {
            Err(Error::new(Kind::Usage, format!("the webhook's URL is wrong: {why}"))
                .hint("it looks like https://hooks.example.com/services/…"))
        };
        let Ok(uri) = url.parse::<Uri>() else { return wrong("it is not a URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return wrong("it needs a scheme and a host");
        };
        if !matches!(scheme, "http" | "https") {
            return wrong("only https and http are known");
        }
        if authority.as_str().contains('@') {
            return wrong("a name and password in it would be sent to whoever answers");
        }
        let shown = format!("{scheme}://{}", secret::printable(authority.host(), false));
        // The token alone must not get out either.
        if let Some(path) = uri.path_and_query().map(|p| p.as_str()).filter(|p| p.len() >= SECRET_PATH) {
            drop(Secret::new(path));
        }
        Ok(Self { url: secret, shown, uri, permissions })
    }

    /// Returns scheme and host, which may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends a notice. A server's error or a broken connection is tried again twice, all within ten seconds.
    ///
    /// Dropping the future gives the notice up; the attempt under way ends within the limit.
    pub async fn send(&self, notice: &Notice) -> Result<Delivered> {
        self.send_within(notice, LIMIT).await
    }

    async fn send_within(&self, notice: &Notice, limit: Duration) -> Result<Delivered> {
        let deadline = Instant::now() + limit;
        let body = body(notice, self.takes_cards());
        let addresses = self.blocking(deadline, |webhook, _| webhook.resolve()).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (body, addresses) = (body.clone(), addresses.clone());
            let answer = self.blocking(deadline, move |webhook, left| webhook.post(&body, addresses, left)).await;
            let failure = match answer.and_then(|status| self.judge(status)) {
                Ok(status) => return Ok(Delivered { status, attempts }),
                Err(failure) => failure,
            };
            let pause =
                PAUSES.get(attempts as usize - 1).filter(|p| failure.is_retryable() && Instant::now() + **p < deadline);
            match pause {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(failure.caused_by(format!("after {attempts} of {} attempts", PAUSES.len() + 1))),
            }
        }
    }

    /// Runs something that blocks, and stops waiting at the deadline: resolving has none of its own.
    async fn blocking<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Self, Duration) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let webhook = self.clone();
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let working = tokio::task::spawn_blocking(move || work(&webhook, left));
        match tokio::time::timeout(left, working).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::new(Kind::Bug, "sending a notice panicked").because(&panic)),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// Returns the host's addresses, all of which must be allowed: one that is not would be reached sooner or later.
    fn resolve(&self) -> Result<Vec<SocketAddr>> {
        let host = self.uri.host().unwrap_or_default();
        let encrypted = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let found = (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs();
        let found: Vec<_> = found.map_err(|e| self.failed(Kind::Network, &e.to_string()).retryable())?.collect();
        if found.is_empty() {
            return Err(self.failed(Kind::Network, "its host has no address"));
        }
        for address in &found {
            self.allow(address.ip(), encrypted)?;
        }
        Ok(found.into_iter().take(ADDRESSES).collect())
    }

    fn allow(&self, address: IpAddr, encrypted: bool) -> Result<()> {
        let refused = |why: String, hint: &str| Err(self.failed(Kind::Refused, &why).hint(hint));
        match reach(address) {
            Reach::Own => Ok(()),
            Reach::Inner if !self.permissions.private_addresses => refused(
                format!("its host has the address {address}, which is not public"),
                "allow private addresses for this webhook if the service is your own",
            ),
            _ if !encrypted && !self.permissions.plain_http => refused(
                "it is not encrypted".into(),
                "use https; allow plain http for this webhook only within a network that you trust",
            ),
            _ => Ok(()),
        }
    }

    fn post(&self, body: &str, addresses: Vec<SocketAddr>, left: Duration) -> Result<u16> {
        let agent = Checked(addresses).agent(left);
        let sent = agent.post(self.url.expose()).content_type("application/json").send(body);
        sent.map(|answer| answer.status().as_u16()).map_err(|e| self.not_sent(&e))
    }

    /// Says what an answer means. Its body may hold anything and is not looked at.
    fn judge(&self, status: u16) -> Result<u16> {
        match status {
            200..=299 => Ok(status),
            300..=399 => Err(self
                .failed(Kind::Network, &format!("it answered with status {status}, a redirect, which is not followed"))
                .hint("use the URL that the service itself gives out")),
            429 | 500..=599 => {
                Err(self.failed(Kind::Network, &format!("it answered with status {status}")).retryable())
            }
            _ => Err(self
                .failed(Kind::Network, &format!("it answered with status {status}"))
                .hint("the URL may be revoked or mistyped")),
        }
    }

    /// Makes an error of our own words: those of the library may hold the URL.
    fn not_sent(&self, cause: &ureq::Error) -> Error {
        match cause {
            ureq::Error::Timeout(_) => self.timed_out(),
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => self.timed_out(),
            ureq::Error::Io(e) => self.failed(Kind::Network, &e.to_string()).retryable(),
            ureq::Error::ConnectionFailed => self.failed(Kind::Network, "no connection came about").retryable(),
            ureq::Error::Rustls(e) => self.failed(Kind::Network, &e.to_string()),
            ureq::Error::Tls(why) => self.failed(Kind::Network, why),
            ureq::Error::Protocol(_) => self.failed(Kind::Network, "what answered does not speak HTTP"),
            _ => self.failed(Kind::Network, "the request could not be made"),
        }
    }

    fn timed_out(&self) -> Error {
        self.failed(Kind::Timeout, "there was no answer in time")
    }

    fn failed(&self, kind: Kind, why: &str) -> Error {
        Error::new(kind, format!("could not send the notice to {}", self.shown)).on(self.shown.clone()).caused_by(why)
    }

    fn takes_cards(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().to_ascii_lowercase();
        CARD_HOSTS.iter().any(|card| host.ends_with(card))
    }
}

/// Gives the connector the addresses that were checked, whatever it asks for.
#[derive(Debug)]
pub(crate) struct Checked(pub(crate) Vec<SocketAddr>);

impl Checked {
    /// Returns an agent that reaches these addresses and nothing else: no redirect and no proxy leads elsewhere.
    pub(crate) fn agent(self, limit: Duration) -> Agent {
        let config = Agent::config_builder()
            .timeout_global(Some(limit))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("runner/", env!("CARGO_PKG_VERSION")))
            .build();
        Agent::with_parts(config, DefaultConnector::default(), self)
    }
}

impl Resolver for Checked {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        self.0.iter().for_each(|address| addresses.push(*address));
        Ok(addresses)
    }
}
