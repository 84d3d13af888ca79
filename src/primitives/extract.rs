//! `extract`: an archive becomes a folder again.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::extract::{self, Limits};
use crate::files::{self, shown};
use crate::script::from_json;
use crate::units;

pub(super) const EXTRACT: Primitive = Primitive {
    name: "extract",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["extract(archive: string, into: string, limits?: map) -> map"],
    manual: r#"
Unpacks a `.tar` or `.tar.gz` into a folder that is new or empty, whole or not at all, and returns what it got.

The result is a map: `path`, `entries`, `size` and `verified`, which says whether every entry was held against the
inventory that `archive` had written beside it. The archive counts as hostile: absolute paths, `..`, devices, twins and
links that leave are refused, and then nothing is extracted. Limits: `bytes` ("50GB") and `entries` that it may unpack
to, `ratio` of unpacked to packed bytes, `outward_links: true` to take links that lead out, `twins: true` to take names
that differ only in case.

```rhai
let work = temp_dir();
write_text(work + "/config/app.toml", "port = 8080");
let made = archive(work + "/config", work + "/config.tar.gz");
let back = extract(made.path, work + "/restored", #{ bytes: "1MB" });
check("held against its inventory", back.verified);
check_eq("content", read_text(work + "/restored/app.toml"), "port = 8080");
```
"#,
    work: |call| Ok(extract(call)?),
};

fn extract(call: &Call) -> Result<Dynamic> {
    let (archive, into, limits) = (call.path(0)?, call.path(1)?, limits(call)?);
    let path = path_text(&into)?;
    let from = shown(&archive);
    let writing = call.writing(&into)?;
    let got = call.on_thread_with(&format!("extract {from}"), move |progress, cancel| {
        extract::extract(&archive, &into, &limits, progress, cancel)
    })?;
    call.written(writing)?;
    let facts = json!({ "path": path, "entries": got.entries, "size": got.bytes, "verified": got.verified });
    let how = if got.verified { "every one as in its inventory" } else { "without an inventory to hold them against" };
    let entries = if got.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", got.entries) };
    call.evidence(format!("{from} is in {path}: {entries}, {}, {how}", units::size(got.bytes)), facts.clone());
    Ok(from_json(facts))
}

fn limits(call: &Call) -> Result<Limits> {
    let (mut options, defaults) = (call.options(2)?, Limits::default());
    let count = |n: Option<usize>, default| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(default);
    let limits = Limits {
        bytes: options.size("bytes")?.unwrap_or(defaults.bytes),
        ratio: count(options.count("ratio")?, defaults.ratio),
        entries: count(options.count("entries")?, defaults.entries),
        outward_links: options.flag("outward_links")?,
        twins: options.flag("twins")?,
    };
    options.finish()?;
    Ok(limits)
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(2) {
        limits(call)?;
    }
    if let Some(archive) = call.present_path(0)? {
        files::open(&archive)?;
    }
    if let Some(into) = call.present_path(1)? {
        extract::refuse_full(&into)?;
    }
    call.announce_change(1)?;
    Ok(format!("would unpack {} into {}", call.shown(0), call.shown(1)))
}
