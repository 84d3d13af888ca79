//! One HTTP GET, for health URLs: the address is looked at once and pinned, the answer is bounded, nothing is followed.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use ureq::http::Uri;

use crate::error::{Error, Kind, Result};
use crate::secret;
use crate::webhook::Checked;

/// More of an answer is not read: health is told in a few words.
const BODY_LIMIT: u64 = 64 << 10;
/// At most this many addresses of a host are tried.
const ADDRESSES: usize = 4;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; 0 where nothing answered.
    pub status: u16,
    /// The first 64 KiB of the body, as text.
    pub body: String,
    /// Why nothing answered.
    pub failure: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// Asks a URL once. That nobody answers is an answer, too.
///
/// # Errors
/// `Usage` when it is no URL, `Refused` when it carries a password or leads to a link-local address.
pub async fn get(url: &str, limit: Duration) -> Result<Answer> {
    let uri = parse(url)?;
    let started = Instant::now();
    let url = url.to_owned();
    let asking = tokio::task::spawn_blocking(move || ask(&url, &uri, limit));
    match tokio::time::timeout(limit, asking).await {
        Ok(Ok(answer)) => answer.map(|answer| Answer { took: started.elapsed(), ..answer }),
        Ok(Err(panic)) => Err(Error::new(Kind::Bug, "asking a URL panicked").because(&panic)),
        // Resolving a name has no deadline of its own.
        Err(_) => Ok(Answer { took: started.elapsed(), ..silence("no answer in time") }),
    }
}

/// Takes a URL apart and refuses those that are none or would send a password.
pub fn parse(url: &str) -> Result<Uri> {
    let wrong = |why: &str| {
        Error::new(
            Kind::Usage,
            format!("\"{}\" is not a URL to ask: {why}", secret::printable(&secret::redact(url), false)),
        )
        .hint("it looks like http://localhost:8000/health")
    };
    let uri: Uri = url.parse().map_err(|_| wrong("it cannot be understood"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
            Err(Error::new(Kind::Refused, "a URL with a name and password in it is not asked")
                .hint("health URLs need no password; one in a URL ends up in logs"))
        }
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(wrong("it needs http or https, and a host")),
    }
}

fn ask(url: &str, uri: &Uri, limit: Duration) -> Result<Answer> {
    let addresses = match resolve(uri)? {
        Ok(addresses) => addresses,
        Err(why) => return Ok(silence(&why)),
    };
    let agent = Checked(addresses).agent(limit);
    let mut answer = match agent.get(url).call() {
        Ok(answer) => answer,
        Err(e) => return Ok(silence(&e.to_string())),
    };
    let mut body = Vec::new();
    let read = answer.body_mut().as_reader().take(BODY_LIMIT).read_to_end(&mut body);
    let failure = read.err().map(|e| format!("the answer broke off: {e}"));
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: answer.status().as_u16(), body, failure, took: Duration::ZERO })
}

fn silence(why: &str) -> Answer {
    Answer { status: 0, body: String::new(), failure: Some(secret::redact(why).into_owned()), took: Duration::ZERO }
}

/// Returns the host's addresses, or why it has none.
fn resolve(uri: &Uri) -> Result<Result<Vec<SocketAddr>, String>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let found: Vec<_> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(e) => return Ok(Err(format!("{host}: {e}"))),
    };
    if let Some(address) = found.iter().find(|a| is_link_local(a.ip())) {
        return Err(Error::new(Kind::Refused, format!("{host} has the link-local address {}", address.ip()))
            .on(host)
            .hint("such addresses serve a cloud's credentials, and no health URL"));
    }
    Ok(Ok(found.into_iter().take(ADDRESSES).collect()))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(v6.segments()[0] & 0xffc0 == 0xfe80, |v4| v4.is_link_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn status_and_body_come_back_and_a_redirect_is_not_followed() {
        let well = get(&serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nup"), LIMIT).await.unwrap();
        assert_eq!((well.status, well.body.as_str(), well.failure), (200, "up", None));
        let ill = get(&serve("HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\ndown"), LIMIT).await.unwrap();
        assert_eq!((ill.status, ill.body.as_str()), (503, "down"));
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(get(&serve(moved), LIMIT).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn nobody_there_is_an_answer_and_a_silent_server_costs_the_limit_only() {
        let closed = get("http://127.0.0.1:9/health", LIMIT).await.unwrap();
        assert!(closed.status == 0 && closed.failure.is_some());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let silent = get(&url, Duration::from_millis(200)).await.unwrap();
        assert!(silent.status == 0 && silent.took < LIMIT, "{silent:?}");
    }

    #[tokio::test]
    async fn passwords_and_link_local_addresses_are_refused() {
        for url in [
            "http://user:pw@localhost/",
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.0.1]/",
        ] {
            assert_eq!(get(url, LIMIT).await.unwrap_err().kind(), Kind::Refused, "{url}");
        }
        for url in ["localhost", "ftp://x/", "file:///etc/passwd", ""] {
            assert_eq!(get(url, LIMIT).await.unwrap_err().kind(), Kind::Usage, "{url}");
        }
    }
}
