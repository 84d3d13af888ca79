//! `copy`: a file under a second name.

use rhai::Dynamic;
use serde_json::json;

use super::paths::refuse_taken;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::{self, listing, shown};
use crate::units;

pub(super) const COPY: Primitive = Primitive {
    name: "copy",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["copy(from: string, to: string) -> int"],
    manual: r#"
Copies a file to a name that is free, or into a folder, and returns how many bytes it holds.

The time of the file is kept, and what its owner may do with it; group and others get no access. A file that exists
already is never overwritten: that is refused. For a folder use `archive`.

```rhai
let work = temp_dir();
write_text(work + "/orders.csv", "12345");
check_eq("bytes", copy(work + "/orders.csv", work + "/copy.csv"), 5);
check_eq("content", checksum(work + "/copy.csv"), checksum(work + "/orders.csv"));
```
"#,
    work: |call| Ok(copy(call)?),
};

fn copy(call: &Call) -> Result<Dynamic> {
    let (from, to) = (call.path(0)?, call.path(1)?);
    let (name, copied_to) = (shown(&from), shown(&to));
    let writing = call.writing(&to)?;
    let (bytes, _) = call.on_thread_with(&format!("copy {name}"), move |progress, cancel| {
        progress.set_total(listing::size(&from)?);
        listing::copy(&from, &to, progress, cancel)
    })?;
    call.written(writing)?;
    let facts = json!({ "from": name, "to": copied_to, "size": bytes });
    call.evidence(format!("{name} is copied to {copied_to}: {}", units::size(bytes)), facts);
    Ok(i64::try_from(bytes).unwrap_or(i64::MAX).into())
}

fn plan(call: &Call) -> Result<String> {
    if let Some(from) = call.present_path(0)? {
        files::open(&from)?;
    }
    if let Some(to) = call.present_path(1)?.filter(|to| !to.is_dir()) {
        refuse_taken(&to)?;
    }
    call.announce_change(1)?;
    Ok(format!("would copy {} to {}", call.shown(0), call.shown(1)))
}
