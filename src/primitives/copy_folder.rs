//! `copy_folder`: a folder under a second name.

use rhai::Dynamic;
use serde_json::json;

use super::paths::refuse_taken;
use super::{Call, Effect, Group, Primitive};
use crate::backups;
use crate::error::Result;
use crate::files::glob::Glob;
use crate::files::{listing, shown};
use crate::script::from_json;
use crate::units;

pub(super) const COPY_FOLDER: Primitive = Primitive {
    name: "copy_folder",
    group: Group::Sets,
    effect: Effect::Writes(plan),
    signatures: &["copy_folder(folder: string, to: string, options?: map) -> map"],
    manual: r#"
Copies a folder, file by file, to a name that is free, and returns how much it holds: `files`, `size`, `left_out`.

The copy is private (files 0600, folders 0700); the permissions and links of the original are written beside it, into
`TO.tree.json`, and `restore_folder` gives them back. Links that lead out of the folder, pipes and devices are left out
with a warning. Option: `exclude`, a list of patterns; one without a slash counts in every folder.

```rhai
let work = temp_dir();
write_text(work + "/models/a.bin", "12345");
write_text(work + "/models/__pycache__/a.pyc", "x");
let copied = copy_folder(work + "/models", work + "/copy", #{ exclude: ["__pycache__"] });
check_eq("files", copied.files, 1);
```
"#,
    work: |call| Ok(copy_folder(call)?),
};

fn copy_folder(call: &Call) -> Result<Dynamic> {
    let (from, to, exclude) = (call.path(0)?, call.path(1)?, excluded(call)?);
    let (name, copied_to) = (shown(&from), shown(&to));
    let tree = call.on_thread_with(&format!("copy {name}"), move |progress, cancel| {
        backups::copy_tree(&from, &to, &exclude, progress, cancel)
    })?;
    tree.left_out.iter().for_each(|what| call.warn(format!("{name}: left out: {what}")));
    let facts = json!({ "path": copied_to, "files": tree.files, "size": tree.bytes, "left_out": tree.left_out });
    let summary =
        format!("{name} is copied to {copied_to}: {}, {}", units::count(tree.files, "file"), units::size(tree.bytes));
    call.evidence(summary, facts.clone());
    Ok(from_json(facts))
}

fn excluded(call: &Call) -> Result<Vec<Glob>> {
    let mut options = call.options(2)?;
    let patterns = options.texts("exclude")?;
    options.finish()?;
    patterns.iter().map(|pattern| Ok(Glob::new(pattern)?.with_hidden())).collect()
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(2) {
        excluded(call)?;
    }
    if let Some(folder) = call.present_path(0)? {
        listing::folder(&folder)?;
    }
    if let Some(to) = call.present_path(1)? {
        refuse_taken(&to)?;
    }
    call.announce_change(1)?;
    Ok(format!("would copy the folder {} to {}", call.shown(0), call.shown(1)))
}
