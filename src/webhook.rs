//! Notices by webhook: JSON that Slack, Mattermost and Microsoft Teams accept, sent where it may go and nowhere else.
//!
//! The URL is a secret: whoever has it can post. The host is resolved once and that very address is connected to, so a
//! name cannot lead to one place when it is checked and to another when it is used. Redirects are not followed, proxies
//! from the environment not used, and no answer's body is read or shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::error::{Error, Kind, Result};
use crate::secret::{self, Secret};

/// All attempts together take no longer.
const LIMIT: Duration = Duration::from_secs(10);
/// The waits before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// The largest body. Services cut or refuse longer ones, and a notice is no report.
const BODY: usize = 4_096;
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

/// Words that call every member of a channel when they follow an `@`.
const CALLS: [&str; 4] = ["all", "channel", "everyone", "here"];

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
        let config = Agent::config_builder()
            .timeout_global(Some(left))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("runner/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Checked(addresses));
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

impl Resolver for Checked {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        self.0.iter().for_each(|address| addresses.push(*address));
        Ok(addresses)
    }
}

/// How far away an address is.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// This machine.
    Own,
    /// A private, shared, link-local or otherwise special network.
    Inner,
    /// The internet.
    Public,
}

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b) {
        (127, _) => Reach::Own,
        (0 | 10 | 224.., _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19) => {
            Reach::Inner
        }
        (192, 0) if c == 0 || c == 2 => Reach::Inner,
        _ => Reach::Public,
    }
}

/// An address that stands for one of version 4 reaches as far as that one.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let words = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match words {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Own,
        [0, 0, 0, 0, 0, 0xffff, high, low] => reach_v4(v4(high, low)),
        // Translated and tunnelled: never this machine's own.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] if reach_v4(v4(high, low)) == Reach::Public => {
            Reach::Public
        }
        // 2000::/3 is what is routed; within it Teredo and the space for examples are not.
        [0x2002, ..] | [0x2001, 0, ..] | [0x2001, 0xdb8, ..] => Reach::Inner,
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Inner,
    }
}

/// Returns the JSON, with the text cut so that all of it fits.
fn body(notice: &Notice, card: bool) -> String {
    let head = format!("{}: {}", harmless(&notice.title, false), harmless(&notice.status, false));
    let text = harmless(&notice.text, true);
    let mut room = BODY;
    loop {
        let (head, text) = (cut(&head, room / 4), cut(&text, room));
        let body = if card { adaptive_card(&head, &text) } else { plain(&head, &text) }.to_string();
        if body.len() <= BODY {
            return body;
        }
        room = room * 3 / 4; // how much longer JSON makes it depends on the text
    }
}

fn plain(head: &str, text: &str) -> Value {
    // Slack's three special characters; Mattermost and others read the entities as well.
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": format!("{}\n{}", escape(head), escape(text)).trim_end() })
}

fn adaptive_card(head: &str, text: &str) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "TextBlock", "text": head, "weight": "Bolder", "wrap": true },
                    { "type": "TextBlock", "text": text, "wrap": true },
                ],
            },
        }],
    })
}

/// Masks secrets, escapes what drives terminals, and takes the ring out of `@channel`.
fn harmless(text: &str, multiline: bool) -> String {
    let text = secret::redact(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = secret::printable(&text, multiline).into_owned();
    while let Some(at) = rest.find('@') {
        let after = rest.split_off(at + 1);
        out.push_str(&rest);
        if CALLS.iter().any(|call| after.get(..call.len()).is_some_and(|word| word.eq_ignore_ascii_case(call))) {
            out.push('\u{200b}'); // a space without width: it reads the same and calls nobody
        }
        rest = after;
    }
    out.push_str(&rest);
    out
}

fn cut(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… (cut)", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A server that gives each connection the next answer and keeps what it was sent.
    struct Server {
        port: u16,
        requests: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn answering(answers: Vec<String>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&requests);
            std::thread::spawn(move || {
                let mut open = Vec::new();
                for answer in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    kept.lock().unwrap().push(request(&mut stream));
                    stream.write_all(answer.as_bytes()).unwrap();
                    // Without an answer the connection stays open: the server hangs.
                    if answer.is_empty() {
                        open.push(stream);
                    }
                }
                while !open.is_empty() {
                    std::thread::park();
                }
            });
            Self { port, requests }
        }

        fn webhook(&self) -> Webhook {
            Webhook::new(&format!("http://127.0.0.1:{}/services/T000/canary-token", self.port), Permissions::default())
                .unwrap()
        }

        fn requests(&self) -> Vec<String> {
            self.requests.lock().unwrap().clone()
        }
    }

    fn request(stream: &mut std::net::TcpStream) -> String {
        let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
        loop {
            let n = stream.read(&mut block).unwrap();
            bytes.extend_from_slice(&block[..n]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let length = text
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
            if let (Some((_, body)), Some(length)) = (text.split_once("\r\n\r\n"), length)
                && body.len() >= length
            {
                return text;
            }
        }
    }

    fn status(line: &str) -> String {
        format!("HTTP/1.1 {line}\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody")
    }

    fn notice() -> Notice {
        Notice { title: "nightly drill".into(), status: "failed".into(), text: "2 of 9 checks failed".into() }
    }

    #[tokio::test]
    async fn a_notice_is_delivered_as_json() {
        let server = Server::answering(vec![status("200 OK")]);
        let delivered = server.webhook().send(&notice()).await.unwrap();
        assert_eq!(delivered, Delivered { status: 200, attempts: 1 });
        let request = server.requests().remove(0);
        assert!(request.starts_with("POST /services/T000/canary-token HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("content-type: application/json"), "{request}");
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({"text": "nightly drill: failed\n2 of 9 checks failed"}));
    }

    #[tokio::test]
    async fn a_servers_error_is_tried_again_and_then_told() {
        let server = Server::answering(vec![status("500 No"), status("503 No"), status("204 Yes")]);
        assert_eq!(server.webhook().send(&notice()).await.unwrap(), Delivered { status: 204, attempts: 3 });
        let server = Server::answering(vec![status("500 No"); 4]);
        let error = server.webhook().send(&notice()).await.unwrap_err();
        assert_eq!(server.requests().len(), 3);
        assert!(error.to_string().ends_with("it answered with status 500: after 3 of 3 attempts"), "{error}");
        let server = Server::answering(vec![status("404 Gone"), status("200 OK")]);
        assert!(server.webhook().send(&notice()).await.unwrap_err().next_step().unwrap().contains("revoked"));
        assert_eq!(server.requests().len(), 1, "a wrong URL does not get right by asking again");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let other = Server::answering(vec![status("200 OK")]);
        let to =
            format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/x\r\ncontent-length: 0\r\n\r\n", other.port);
        for code in ["302 Found", "307 Temporary", "308 Permanent"] {
            let server = Server::answering(vec![to.replace("302 Found", code)]);
            let error = server.webhook().send(&notice()).await.unwrap_err();
            assert!(error.to_string().contains("which is not followed"), "{error}");
        }
        assert!(other.requests().is_empty());
    }

    #[tokio::test]
    async fn a_server_that_hangs_costs_no_more_than_the_limit() {
        let server = Server::answering(vec![String::new()]);
        let started = Instant::now();
        let error = server.webhook().send_within(&notice(), Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_closed_port_is_told_without_the_token_and_without_the_body() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{free}/services/T000/canary-closed-port");
        let error = Webhook::new(&url, Permissions::default()).unwrap().send(&notice()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Network);
        assert_eq!(error.target(), Some("http://127.0.0.1"));
        assert!(error.to_string().contains("refused") && !format!("{error:?}").contains("canary"), "{error:?}");
        assert!(!secret::redact(&format!("see {url}")).contains("canary"));
        let server = Server::answering(vec![status("400 Bad")]);
        let error = server.webhook().send(&notice()).await.unwrap_err();
        assert!(!format!("{error:?}").contains("body"), "{error:?}");
    }

    #[tokio::test]
    async fn notices_go_encrypted_to_public_addresses_or_to_this_machine() {
        for url in [
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://[fe80::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[64:ff9b::a00:1]/x",
            "https://100.64.0.1/x",
            "https://0.0.0.0/x",
            "https://167772161/x",
            "http://93.184.216.34/x",
        ] {
            let error = Webhook::new(url, Permissions::default()).unwrap().send(&notice()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{url}: {error}");
            assert!(error.next_step().unwrap().contains("allow"), "{url}");
        }
        for url in ["ftp://example.com/x", "example.com", "https://user:pass@example.com/x", "https:///x", ""] {
            assert_eq!(Webhook::new(url, Permissions::default()).err().unwrap().kind(), Kind::Usage, "{url}");
        }
    }

    #[test]
    fn every_special_network_is_known() {
        let reaches = |address: &str| reach(address.parse().unwrap());
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(reaches(own), Reach::Own, "{own}");
        }
        for inner in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.127.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.19.0.1",
            "192.0.0.1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:192.168.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "64:ff9b:1::1",
            "::10.0.0.1",
        ] {
            assert_eq!(reaches(inner), Reach::Inner, "{inner}");
        }
        for public in
            ["93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert_eq!(reaches(public), Reach::Public, "{public}");
        }
    }

    #[test]
    fn whatever_the_text_holds_the_body_is_small_valid_and_calls_nobody() {
        let hidden = Secret::new("canary-in-notice");
        for text in
            ["\u{1b}[2J\"quotes\" @channel @Here <!everyone>".repeat(9_000), "ü".repeat(500_000), "\\\"".repeat(9_000)]
        {
            let text = format!("{} {text}", hidden.expose());
            for card in [false, true] {
                let body = body(&Notice { title: text.clone(), status: "failed".into(), text: text.clone() }, card);
                assert!(body.len() <= BODY && body.len() > BODY / 3, "{}", body.len());
                let value: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(value.get("text").is_some(), !card);
                for never in ["@channel", "@Here", "canary", "\u{1b}"] {
                    assert!(!body.contains(never), "{body}");
                }
                assert!(card || !body.contains("<!"), "Slack reads what stands in these brackets: {body}");
            }
        }
    }

    #[test]
    fn teams_gets_a_card_and_the_others_get_text() {
        let cards = |url: &str| Webhook::new(url, Permissions::default()).unwrap().takes_cards();
        assert!(cards("https://prod-01.westeurope.logic.azure.com:443/workflows/x"));
        assert!(cards("https://contoso.webhook.office.com/webhookb2/x"));
        assert!(!cards("https://hooks.slack.com/services/T/B/x"));
        assert!(!cards("https://evil.example.com/logic.azure.com"));
        let card: Value = serde_json::from_str(&body(&notice(), true)).unwrap();
        assert_eq!(card["attachments"][0]["content"]["body"][0]["text"], "nightly drill: failed");
    }
}
