//! `notify`: tells a channel how a run went, and never changes how it went.

use rhai::Dynamic;
use serde_json::json;

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::run::Verdict;
use crate::secret::Secret;
use crate::webhook::{Notice, Permissions, Webhook};

pub(super) const NOTIFY: Primitive = Primitive {
    name: "notify",
    group: Group::Primitives,
    effect: Effect::Writes(plan),
    signatures: &["notify(notice: map) -> bool"],
    manual: r#"
Sends a notice to a webhook of Slack, Mattermost or Microsoft Teams, and returns whether it arrived.

Options: `to`, the webhook's URL as a text or a secret (it is hidden from logs and reports either way), `title`, `text`,
and `status` (by default the verdict so far: "failed: 1 of 9 checks"). A notice that does not arrive never throws and never
changes the verdict: it is a warning, and the journal keeps why. It goes over https to public addresses, or to this
machine. `insecure: true` allows plain http, `private: true` allows addresses of private networks. All attempts together
take at most ten seconds. To send one however the script ends, put it off with `defer`.

```rhai
let arrived = notify(#{ to: "http://127.0.0.1:9/hook", title: "nightly drill", text: "nobody listens there" });
check("a notice that is lost does not end the script", !arrived);
```

```rhai,no_run
defer(|| notify(#{ to: secret("SLACK_WEBHOOK"), title: "nightly drill" }));
```
"#,
    work: |call| Ok(notify(call)?),
};

/// What a call asks for.
struct Asked {
    to: Secret,
    permissions: Permissions,
    notice: Notice,
}

fn notify(call: &Call) -> Result<Dynamic> {
    let Asked { to, permissions, notice } = read(call)?;
    let webhook = match Webhook::new(to.expose(), permissions) {
        Ok(webhook) => webhook,
        Err(error) => return Ok(lost(call, &notice, None, &error)),
    };
    match call.wait(webhook.send(&notice)) {
        Ok(delivered) => {
            let summary = format!("the notice \"{}\" was delivered to {}", notice.title, webhook.shown());
            let facts = json!({
                "delivered": true,
                "to": webhook.shown(),
                "title": notice.title,
                "status": delivered.status,
                "attempts": delivered.attempts,
            });
            call.evidence(summary, facts);
            Ok(true.into())
        }
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(error) => Ok(lost(call, &notice, Some(webhook.shown()), &error)),
    }
}

/// Notes a notice that did not arrive: a warning and evidence, but nothing that the verdict looks at.
fn lost(call: &Call, notice: &Notice, to: Option<&str>, error: &Error) -> Dynamic {
    let hint = error.next_step().map(|hint| format!(" ({hint})")).unwrap_or_default();
    call.warn(format!("the notice \"{}\" was not delivered: {error}{hint}", notice.title));
    let summary = format!("the notice \"{}\" was not delivered: {error}", notice.title);
    let facts = json!({ "delivered": false, "to": to, "title": notice.title, "why": error.to_string() });
    call.evidence(summary, facts);
    false.into()
}

fn read(call: &Call) -> Result<Asked> {
    let mut options = call.options(0)?;
    let to = options.secret("to")?;
    let to = to.ok_or_else(|| {
        Error::new(Kind::Usage, "notify needs the option `to`").hint("give the webhook's URL: to: secret(\"WEBHOOK\")")
    })?;
    let asked = Asked {
        to,
        notice: Notice {
            title: options.needed("title")?,
            status: options.text("status")?.unwrap_or_else(|| verdict_so_far(call)),
            text: options.text("text")?.unwrap_or_default(),
        },
        permissions: Permissions { plain_http: options.flag("insecure")?, private_addresses: options.flag("private")? },
    };
    options.finish()?;
    Ok(asked)
}

fn verdict_so_far(call: &Call) -> String {
    let run = call.run();
    Verdict::of(&run.journal.moments(), run.stop.why(), run.options.require_checks, run.options.dry_run).words
}

fn plan(call: &Call) -> Result<String> {
    if call.is_unknown(0) {
        return Ok("would send a notice whose words only a real run knows".into());
    }
    let Asked { to, permissions, notice } = read(call)?;
    let to = Webhook::new(to.expose(), permissions).map_or_else(|e| e.to_string(), |to| to.shown().to_owned());
    Ok(format!("would send the notice \"{}\" to {to}", notice.title))
}
