//! `rename`: a file or folder under another name, on the same disk.

use rhai::Dynamic;
use serde_json::json;

use super::paths::{path_text, refuse_taken};
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::{listing, shown};

pub(super) const RENAME: Primitive = Primitive {
    name: "rename",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["rename(from: string, to: string) -> string"],
    manual: r#"
Gives a file, a link or a folder another name that is free, and returns it.

It happens at once or not at all, and only on one disk: for another one there are `copy` and `archive`. What is at `to`
already is never replaced. The root, the home and the working folder, what is above them and mount points are refused.

```rhai
let work = temp_dir();
write_text(work + "/shop/.env", "PORT=8080");
let kept = rename(work + "/shop", work + "/shop__before");
check_eq("content", read_text(kept + "/.env"), "PORT=8080");
check("the name is free", !exists(work + "/shop"));
```
"#,
    work: |call| Ok(rename(call)?),
};

fn rename(call: &Call) -> Result<Dynamic> {
    let (from, to) = (call.path(0)?, call.path(1)?);
    let (name, named) = (shown(&from), path_text(&to)?);
    call.on_thread(move |_| listing::rename(&from, &to))?;
    call.evidence(format!("{name} is now {named}"), json!({ "from": name, "to": named }));
    Ok(named.into())
}

fn plan(call: &Call) -> Result<String> {
    if let Some(from) = call.present_path(0)?.filter(|path| path.is_dir() && !path.is_symlink()) {
        listing::may_go(&from)?;
    }
    if let Some(to) = call.present_path(1)? {
        refuse_taken(&to)?;
    }
    call.announce_change(0)?;
    call.announce_change(1)?;
    Ok(format!("would rename {} to {}", call.shown(0), call.shown(1)))
}
