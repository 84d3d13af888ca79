//! `write_checksums`: the digests of all files of a folder, in a list that other tools read.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::checksums::{self, CHECKSUM_FILE};
use crate::files::{listing, shown};
use crate::script::from_json;
use crate::units;

pub(super) const WRITE_CHECKSUMS: Primitive = Primitive {
    name: "write_checksums",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["write_checksums(folder: string) -> map"],
    manual: r#"
Writes `checksums.txt` into a folder: the SHA-256 of every file in it and below, as `sha256sum -c` reads it.

The result is a map: `path`, `files`, `size` and `skipped`, a list of what is no regular file and so is not in the list
(which is also a warning). An older `checksums.txt` is replaced: verify it first, or damage becomes the truth.

```rhai
let set = temp_dir();
write_text(set + "/a.csv", "1");
write_text(set + "/sub/b.csv", "2");
let written = write_checksums(set);
check_eq("files", written.files, 2);
check("intact", verify_checksums(written.path).intact);
```
"#,
    work: |call| Ok(write_checksums(call)?),
};

fn write_checksums(call: &Call) -> Result<Dynamic> {
    let folder = call.path(0)?;
    listing::folder(&folder)?;
    let path = path_text(&folder.join(CHECKSUM_FILE))?;
    let written = call.on_thread_with(&format!("checksums of {}", shown(&folder)), move |progress, cancel| {
        checksums::write_checksums(&folder, progress, cancel)
    })?;
    let skipped: Vec<_> = written.skipped.iter().map(|path| shown(path)).collect();
    if !skipped.is_empty() {
        call.warn(format!("{path} does not list what is no regular file: {}", skipped.join(", ")));
    }
    let facts = json!({ "path": path, "files": written.files, "size": written.bytes, "skipped": skipped });
    let summary = format!("{path} lists {} of {}", units::count(written.files, "file"), units::size(written.bytes));
    call.evidence(summary, facts.clone());
    Ok(from_json(facts))
}

fn plan(call: &Call) -> Result<String> {
    if let Some(folder) = call.present_path(0)? {
        listing::folder(&folder)?;
    }
    if !call.is_unknown(0) {
        call.host().announce_change(&call.path(0)?.join(CHECKSUM_FILE));
    }
    Ok(format!("would write {CHECKSUM_FILE} into {}", call.shown(0)))
}
