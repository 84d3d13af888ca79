//! The body of a notice: small, harmless, in the form that its service takes.

use serde_json::{Value, json};

use super::Notice;
use crate::secret;

/// The largest body. Services cut or refuse longer ones, and a notice is no report.
pub(super) const BODY: usize = 4_096;
/// Words that call every member of a channel when they follow an `@`.
const CALLS: [&str; 4] = ["all", "channel", "everyone", "here"];

/// Returns the JSON, with the text cut so that all of it fits.
pub(super) fn body(notice: &Notice, card: bool) -> String {
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
