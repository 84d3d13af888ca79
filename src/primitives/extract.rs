//! `extract`: an archive becomes a folder again.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::compare::{Extent, Level, Verified};
use crate::error::{Error, Kind, Result};
use crate::files::extract::{self, Limits};
use crate::files::merge::Merged;
use crate::files::{self, shown, with_suffix};
use crate::script::from_json;
use crate::units;

pub(super) const EXTRACT: Primitive = Primitive {
    name: "extract",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["extract(archive: string, into: string, options?: map) -> map"],
    manual: r#"
Unpacks a `.tar` or `.tar.gz` into a folder that is new or empty, whole or not at all, and returns what it got.

The result is a map: `path`, `entries`, `size` and `verified`, which says whether every entry was held against the
inventory that `archive` had written beside it. The archive counts as hostile: absolute paths, `..`, devices, twins and
links that leave are refused, and then nothing is extracted. Limits: `bytes` ("50GB") and `entries` that it may unpack
to, `ratio` of unpacked to packed bytes, `outward_links: true` to take links that lead out, `twins: true` to take names
that differ only in case.

With `merge: true` the folder may hold other files. Equal ones stay; one with another content or permissions is refused
before anything is touched, unless `replace: true` lets it make room: then it is kept in `INTO__before_RUN`, which the
result tells as `replaced` (empty when nothing was). All entries are in place in the end, or none is.

```rhai
let work = temp_dir();
write_text(work + "/config/app.toml", "port = 8080");
let made = archive(work + "/config", work + "/config.tar.gz");
let back = extract(made.path, work + "/restored", #{ bytes: "1MB" });
check("held against its inventory", back.verified);
check_eq("content", read_text(work + "/restored/app.toml"), "port = 8080");
write_text(work + "/live/app.toml", "port = 9");
write_text(work + "/live/other.toml", "stays");
let over = extract(made.path, work + "/live", #{ merge: true, replace: true });
check_eq("the old one is kept", read_text(over.replaced + "/app.toml"), "port = 9");
```
"#,
    work: |call| Ok(extract(call)?),
};

fn extract(call: &Call) -> Result<Dynamic> {
    let (archive, into, Wanted { limits, merge, replace }) = (call.path(0)?, call.path(1)?, wanted(call)?);
    let (path, from) = (path_text(&into)?, shown(&archive));
    let kept = with_suffix(&into, &format!("__before_{}", call.run().id));
    let writing = call.writing(&if merge { into.join("merged") } else { into.clone() })?;
    let aside = replace.then(|| kept.clone());
    let (got, merged) = call.on_thread_with(&format!("extract {from}"), move |progress, cancel| {
        if merge {
            return extract::extract_over(&archive, &into, aside.as_deref(), &limits, progress, cancel);
        }
        Ok((extract::extract(&archive, &into, &limits, progress, cancel)?, Merged::default()))
    })?;
    call.written(writing)?;
    let replaced = if merged.replaced == 0 { String::new() } else { path_text(&kept)? };
    let facts = json!({
        "path": path,
        "entries": got.entries,
        "size": got.bytes,
        "verified": got.verified,
        "replaced": replaced,
    });
    let how = if got.verified { "every one as in its inventory" } else { "without an inventory to hold them against" };
    let entries = if got.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", got.entries) };
    let beside = if replaced.is_empty() { String::new() } else { format!("; what made room is in {replaced}") };
    let summary = format!("{from} is in {path}: {entries}, {}, {how}{beside}", units::size(got.bytes));
    let extent = Extent { files: got.entries, bytes: got.bytes, ..Extent::default() };
    let verified = match got.verified {
        true => Verified::held(&[Level::File, Level::Content], extent),
        false => Verified::held(&[], extent).without(&from, "it has no inventory to hold what came out against"),
    };
    call.verified(summary, facts.clone(), &verified);
    Ok(from_json(facts))
}

/// An extraction as it was asked for.
#[derive(Default)]
struct Wanted {
    limits: Limits,
    merge: bool,
    replace: bool,
}

fn wanted(call: &Call) -> Result<Wanted> {
    let (mut options, defaults) = (call.options(2)?, Limits::default());
    let count = |n: Option<usize>, default| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(default);
    let limits = Limits {
        bytes: options.size("bytes")?.unwrap_or(defaults.bytes),
        ratio: count(options.count("ratio")?, defaults.ratio),
        entries: count(options.count("entries")?, defaults.entries),
        outward_links: options.flag("outward_links")?,
        twins: options.flag("twins")?,
    };
    let (merge, replace) = (options.flag("merge")?, options.flag("replace")?);
    options.finish()?;
    if replace && !merge {
        return Err(Error::new(Kind::Usage, "replace needs merge: without it the folder must be new or empty"));
    }
    Ok(Wanted { limits, merge, replace })
}

fn plan(call: &Call) -> Result<String> {
    let wanted = if call.is_unknown(2) { Wanted::default() } else { wanted(call)? };
    if let Some(archive) = call.present_path(0)? {
        files::open(&archive)?;
    }
    if let Some(into) = call.present_path(1)?.filter(|_| !wanted.merge) {
        extract::refuse_full(&into)?;
    }
    call.announce_change(1)?;
    Ok(format!("would unpack {} into {}", call.shown(0), call.shown(1)))
}
