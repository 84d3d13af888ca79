//! Notices against real servers on this machine.

use serde_json::{Value, json};

use super::payload::BODY;
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
        let length =
            text.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
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
    let to = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/x\r\ncontent-length: 0\r\n\r\n", other.port);
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
