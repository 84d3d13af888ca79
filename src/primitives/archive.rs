//! `archive`: a folder becomes one file.

use rhai::Dynamic;
use serde_json::json;

use super::paths::{path_text, refuse_taken};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::archive::Wanted;
use crate::files::glob::Glob;
use crate::files::parts::Parts;
use crate::files::{self, shown};
use crate::script::from_json;
use crate::units;

pub(super) const ARCHIVE: Primitive = Primitive {
    name: "archive",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["archive(folder: string, to: string, options?: map) -> map"],
    manual: r#"
Packs a folder into a new `.tar.gz`, with its inventory and checksum beside it, and returns what it made.

The result is a map: `path`, `size`, `sha256`, `entries` and `raw_size` (the bytes before packing). Options: `exclude`, a
list of patterns; one without a slash counts in every folder, and what is in an excluded folder is excluded. `parts`, a
list of files and folders, each by its path below the folder: only they are archived, and one that is not there is an
error which names it. All cores pack; what is packed already, such as images and archives, goes in as it is. Equal folders
make equal archives. Modes, times, links and empty folders are kept; sockets, pipes and devices are left out with a
warning. A file that exists already is never overwritten: that is refused.

```rhai
let work = temp_dir();
write_text(work + "/config/app.toml", "port = 8080");
write_text(work + "/config/debug.log", "noise");
let made = archive(work + "/config", work + "/config.tar.gz", #{ exclude: ["*.log"] });
check_eq("entries", made.entries, 1);
check_eq("checksum", checksum(made.path), made.sha256);
write_text(work + "/.env", "PORT=8080");
let some = archive(work, work + "/some.tar.gz", #{ parts: [".env", "config/app.toml"] });
check_eq("two files and a folder", some.entries, 3);
```
"#,
    work: |call| Ok(archive(call)?),
};

fn archive(call: &Call) -> Result<Dynamic> {
    let (folder, to, wanted) = (call.path(0)?, call.path(1)?, wanted(call)?);
    let path = path_text(&to)?;
    let from = shown(&folder);
    let writing = call.writing(&to)?;
    let made = call.on_thread_with(&format!("archive {from}"), move |progress, cancel| {
        files::archive::archive(&folder, &to, &wanted, progress, cancel)
    })?;
    call.written(writing)?;
    made.cautions.iter().for_each(|caution| call.warn(caution));
    let facts = json!({
        "path": path,
        "size": made.size,
        "sha256": made.sha256,
        "entries": made.entries,
        "raw_size": made.raw_size,
    });
    let summary = format!("{from} is in {path}: {}, {}", units::count(made.entries, "file"), units::size(made.size));
    call.evidence(summary, facts.clone());
    Ok(from_json(facts))
}

fn wanted(call: &Call) -> Result<Wanted> {
    let mut options = call.options(2)?;
    let (parts, patterns) = (options.texts("parts")?, options.texts("exclude")?);
    options.finish()?;
    let exclude = patterns.iter().map(|pattern| Ok(Glob::new(pattern)?.with_hidden())).collect::<Result<_>>()?;
    Ok(Wanted { parts, exclude })
}

fn plan(call: &Call) -> Result<String> {
    let wanted = if call.is_unknown(2) { Wanted::default() } else { wanted(call)? };
    if let Some(folder) = call.present_path(0)? {
        files::listing::folder(&folder)?;
        Parts::of(&folder, &wanted.parts, &wanted.exclude)?;
    }
    if let Some(to) = call.present_path(1)? {
        refuse_taken(&to)?;
    }
    call.announce_change(1)?;
    Ok(format!("would pack {} into {}", call.shown(0), call.shown(1)))
}
