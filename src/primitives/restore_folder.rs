//! `restore_folder`: a folder of a backup set, back in its place.

use std::path::PathBuf;

use rhai::{Dynamic, Map};
use serde_json::json;

use super::handles::BackupSet;
use super::{Call, Effect, Group, Primitive};
use crate::compare::{Extent, Level, Verified};
use crate::error::{Error, Kind, Result};
use crate::files::{shown, with_suffix};
use crate::units;

pub(super) const RESTORE_FOLDER: Primitive = Primitive {
    name: "restore_folder",
    group: Group::Sets,
    effect: Effect::Writes(plan),
    signatures: &["restore_folder(set: BackupSet, component: string, to: string, options?: map) -> map"],
    manual: r#"
Puts a folder of a backup set back and returns `files`, `size` and `replaced`.

The folder is copied beside `to`, every file is compared with its checksum, and only then it gets its name; permissions
and links come back. A folder that holds something is refused, unless `replace: true` says otherwise: then the old one
stays as `NAME__before_RUN` (that is `replaced`; empty when there was none).

```rhai
let work = temp_dir();
write_text(work + "/models/a.bin", "12345");
let set = catalog(work + "/backups").create(#{ "models": |to| copy_folder(work + "/models", to) });
write_text(work + "/models/a.bin", "lost");
let back = set.restore_folder("models", work + "/models", #{ replace: true });
check_eq("the old model is back", read_text(work + "/models/a.bin"), "12345");
check_eq("the other one is kept", read_text(back.replaced + "/a.bin"), "lost");
```
"#,
    work: |call| Ok(restore_folder(call)?),
};

fn restore_folder(call: &Call) -> Result<Dynamic> {
    let set: BackupSet = call.handle(0, "a BackupSet")?;
    let (component, to, replace) = (call.text(1)?, call.path(2)?, replace(call)?);
    usable(&set)?;
    let trust = &call.run().options.trust;
    if !trust.is_empty() {
        set.0.signed_by(trust)?;
    }
    call.accessed(&set.0.folder.join(&component));
    let held = holds_something(&to);
    let before = with_suffix(&to, &format!("__before_{}", call.run().id));
    let replaced = replace.then_some(before.clone());
    let (name, restored_to) = (component.clone(), shown(&to));
    let writing = call.writing(&to)?;
    let tree = call.on_thread_with(&format!("restore {component}"), move |progress, cancel| {
        set.0.restore_folder(&component, &to, replaced.as_deref(), progress, cancel)
    })?;
    call.written(writing)?;
    let kept = if held { before.display().to_string() } else { String::new() };
    let beside = if held { format!("; what was there is {kept}") } else { String::new() };
    let (files, size) = (units::count(tree.files, "file"), units::size(tree.bytes));
    let facts = json!({ "path": restored_to, "files": tree.files, "size": tree.bytes, "replaced": kept });
    let extent = Extent { components: 1, files: tree.files, bytes: tree.bytes, ..Extent::default() };
    let told = format!("{name} is back in {restored_to}: {files}, {size}{beside}");
    call.verified(told, facts, &Verified::held(&[Level::File, Level::Restore, Level::Content], extent));
    let mut map = Map::new();
    map.insert("files".into(), tree.files.cast_signed().into());
    map.insert("size".into(), tree.bytes.cast_signed().into());
    map.insert("replaced".into(), kept.into());
    Ok(map.into())
}

/// A set that counts for nothing is not restored from by mistake.
fn usable(set: &BackupSet) -> Result<()> {
    if set.0.is_good() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{} is not a whole backup set", set.0.name))
        .on(set.0.name.clone())
        .hint("restore from another set, or copy what you need by hand"))
}

fn holds_something(to: &PathBuf) -> bool {
    std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some())
}

fn replace(call: &Call) -> Result<bool> {
    let mut options = call.options(3)?;
    let replace = options.flag("replace")?;
    options.finish()?;
    Ok(replace)
}

fn plan(call: &Call) -> Result<String> {
    let replace = !call.is_unknown(3) && replace(call)?;
    let mut instead = "";
    if let Some(to) = call.present_path(2)?.filter(holds_something) {
        if !replace {
            return Err(Error::new(Kind::Refused, format!("{} holds something", shown(&to)))
                .on(shown(&to))
                .hint("restore to another folder, or say replace: the old folder is kept beside it"));
        }
        instead = ", and keep what is there beside it";
    }
    call.announce_change(2)?;
    Ok(format!("would restore {} of {} to {}{instead}", call.shown(1), call.shown(0), call.shown(2)))
}
