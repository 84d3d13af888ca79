//! `http_get`: asks a URL once.

use std::time::Duration;

use rhai::Dynamic;
use serde_json::json;

use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::http;
use crate::script::from_json;

/// A health URL that takes longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) const HTTP_GET: Primitive = Primitive {
    name: "http_get",
    group: Group::Http,
    effect: Effect::Reads,
    signatures: &["http_get(url: string, options?: map) -> map"],
    manual: r#"
Asks a URL once and returns what came back: for health and status URLs.

The result is a map: `ok` (the status is 200 to 299), `status`, `body` (the first 64 KiB), `seconds` and `error`. Where
nobody answers, `ok` is false, `status` 0 and `error` says why: that is an answer, not an error, so that `wait_until` can
ask again. Option: `timeout` (default "5s").

Unlike `notify` it may ask addresses of this machine and of private networks, also without encryption: that is where
health URLs are, and a GET tells the other side nothing. Link-local addresses, where clouds give out credentials, and URLs
with a password in them are refused. Redirects are not followed, so what is asked is what was written.

```rhai
let health = http_get("http://127.0.0.1:9/health");
check("nobody listens there", !health.ok && health.status == 0, health.error);
```

```rhai
let api = "http://127.0.0.1:9/health";
try {
    wait_until(#{ timeout: "20ms", every: "5ms", what: "the health of the API" }, || http_get(api).ok);
} catch (e) {
    check_eq("it never comes up", e.kind, "timeout");
}
```
"#,
    work: |call| Ok(http_get(call)?),
};

fn http_get(call: &Call) -> Result<Dynamic> {
    let url = call.text(0)?;
    let mut options = call.options(1)?;
    let limit = options.duration("timeout")?.unwrap_or(PATIENCE);
    options.finish()?;
    let answer = call.wait(http::get(&url, limit))?;
    Ok(from_json(json!({
        "ok": (200..300).contains(&answer.status) && answer.failure.is_none(),
        "status": answer.status,
        "body": answer.body,
        "seconds": answer.took.as_secs_f64(),
        "error": answer.failure.unwrap_or_default(),
    })))
}
