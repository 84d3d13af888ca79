//! `remove`: a file or folder goes for good.

use std::path::Path;

use rhai::Dynamic;
use serde_json::json;

use super::{Call, Effect, Group, Primitive};
use crate::backups::{FAILED_PREFIX, Format, SET_PREFIX, manifest_path};
use crate::error::Result;
use crate::files::{listing, shown, shred};

pub(super) const REMOVE: Primitive = Primitive {
    name: "remove",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["remove(path: string, options?: map) -> bool"],
    manual: r#"
Removes a file, a link or an empty folder for good, and returns whether there was one.

Of a link the link goes, never what it leads to. A folder that holds something needs `whole: true`. The root, the home
and the working folder, what is above them and what is or holds a mount point are refused.

The removal of a backup is noted in the `access.log` of its folder before; where that cannot be written, it stays.

`shred: true` overwrites every file with random bytes and waits for the disk before it goes. That is no guarantee: file
systems that copy on write or keep snapshots, SSDs and backups of this disk may still have the old bytes. Where it
matters, encrypt. What has other names (hard links) is refused.

```rhai
let work = temp_dir();
write_text(work + "/old/orders.csv", "12345");
check("it was there", remove(work + "/old", #{ whole: true }));
check("it is gone", !remove(work + "/old"));
```
"#,
    work: |call| Ok(remove(call)?),
};

fn remove(call: &Call) -> Result<Dynamic> {
    let (path, Wanted { whole, shred }) = (call.path(0)?, wanted(call)?);
    let name = shown(&path);
    if is_backup(&path) {
        call.will_lose(&path)?;
    }
    let removed = call.on_thread(move |cancel| {
        let is_folder = path.is_dir() && !path.is_symlink();
        if shred && is_folder {
            listing::may_go(&path)?;
        }
        if shred && (whole || !is_folder) {
            shred::overwrite(&path, cancel)?;
        }
        listing::remove(&path, whole)
    })?;
    if removed {
        call.evidence(format!("{name} is removed"), json!({ "path": name, "whole": whole, "shred": shred }));
    }
    Ok(removed.into())
}

#[derive(Default)]
struct Wanted {
    whole: bool,
    shred: bool,
}

fn wanted(call: &Call) -> Result<Wanted> {
    let mut options = call.options(1)?;
    let wanted = Wanted { whole: options.flag("whole")?, shred: options.flag("shred")? };
    options.finish()?;
    Ok(wanted)
}

/// Returns whether the access log of its folder speaks of a path: a backup file, or a set.
fn is_backup(path: &Path) -> bool {
    let named = path.file_name().unwrap_or_default().to_string_lossy();
    let is_set = named.starts_with(SET_PREFIX) || named.starts_with(FAILED_PREFIX);
    let is_file = path.is_file() && (Format::of_name(&named).is_some() || manifest_path(path).is_file());
    is_file || (path.is_dir() && is_set)
}

fn plan(call: &Call) -> Result<String> {
    let Wanted { whole, shred } = if call.is_unknown(1) { Wanted::default() } else { wanted(call)? };
    if let Some(path) = call.present_path(0)?.filter(|path| path.is_dir() && !path.is_symlink()) {
        listing::may_go(&path)?;
    }
    call.announce_change(0)?;
    let how = if shred { "overwrite and remove" } else { "remove" };
    Ok(format!("would {how} {}{}", call.shown(0), if whole { " with everything in it" } else { "" }))
}
