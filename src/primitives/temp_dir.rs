//! `temp_dir`: a private folder that goes with the run.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::temp_folder::temp_folder;

pub(super) const TEMP_DIR: Primitive = Primitive {
    name: "temp_dir",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["temp_dir(name?: string) -> string"],
    manual: r#"
Makes a fresh folder that only this user can enter, and returns its path.

It and all in it are removed when the run ends, however it ends; with `--keep` it stays, and the journal says where. The
name becomes a part of the folder's own: letters, digits, dashes and underscores. TMPDIR says where such folders lie.

```rhai
let work = temp_dir("restore");
write_text(work + "/orders.csv", "12345");
check_eq("files", list_files(work).len(), 1);
```
"#,
    work: |call| Ok(temp_dir(call)?),
};

fn temp_dir(call: &Call) -> Result<Dynamic> {
    let (run, purpose) = (call.run(), name(call)?);
    let (folder, ticket) = call.wait(temp_folder(&run.ledger, &std::env::temp_dir(), &purpose))?;
    let path = path_text(&folder)?;
    let kept = run.options.keep;
    if kept {
        ticket.keep()?;
    }
    let end = if kept { "stays after the run" } else { "goes with the run" };
    call.evidence(format!("temporary folder {path} {end}"), json!({ "path": path, "kept": kept }));
    Ok(path.into())
}

fn name(call: &Call) -> Result<String> {
    if call.any(0).is_unit() {
        return Ok("work".into());
    }
    let name = call.text(0)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let short = (1..=60).contains(&name.len());
    if short && name.chars().all(fits) { Ok(name) } else { Err(call.wrong(0, "a short name of letters and digits")) }
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(0) {
        name(call)?;
    }
    Ok("would make a private temporary folder".into())
}
