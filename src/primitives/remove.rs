//! `remove`: a file or folder goes for good.

use rhai::Dynamic;
use serde_json::json;

use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::{listing, shown};

pub(super) const REMOVE: Primitive = Primitive {
    name: "remove",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["remove(path: string, options?: map) -> bool"],
    manual: r#"
Removes a file, a link or an empty folder for good, and returns whether there was one.

Of a link the link goes, never what it leads to. A folder that holds something needs `whole: true`. The root, the home
and the working folder, what is above them and what is or holds a mount point are refused.

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
    let (path, whole) = (call.path(0)?, whole(call)?);
    let name = shown(&path);
    let removed = call.on_thread(move |_| listing::remove(&path, whole))?;
    if removed {
        call.evidence(format!("{name} is removed"), json!({ "path": name, "whole": whole }));
    }
    Ok(removed.into())
}

fn whole(call: &Call) -> Result<bool> {
    let mut options = call.options(1)?;
    let whole = options.flag("whole")?;
    options.finish()?;
    Ok(whole)
}

fn plan(call: &Call) -> Result<String> {
    let whole = !call.is_unknown(1) && whole(call)?;
    if let Some(path) = call.present_path(0)?.filter(|path| path.is_dir() && !path.is_symlink()) {
        listing::may_go(&path)?;
    }
    call.announce_change(0)?;
    Ok(format!("would remove {}{}", call.shown(0), if whole { " with everything in it" } else { "" }))
}
