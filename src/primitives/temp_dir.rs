//! `temp_dir`: a private folder that goes with the run.

use std::path::PathBuf;

use rhai::{Dynamic, Map};
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::atomic;
use crate::files::temp_folder::temp_folder;

pub(super) const TEMP_DIR: Primitive = Primitive {
    name: "temp_dir",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["temp_dir(name?: string) -> string", "temp_dir(options: map) -> string"],
    manual: r#"
Makes a fresh folder that only this user can enter, and returns its path.

It and all in it are removed when the run ends, however it ends; with `--keep` it stays, and the journal says where. The
name becomes a part of the folder's own: letters, digits, dashes and underscores. TMPDIR says where such folders lie,
unless the option `below` names a folder, which is made when it is not there; the other option is `name`.

```rhai
let work = temp_dir("restore");
write_text(work + "/orders.csv", "12345");
check_eq("files", list_files(work).len(), 1);
```
"#,
    work: |call| Ok(temp_dir(call)?),
};

fn temp_dir(call: &Call) -> Result<Dynamic> {
    let (run, (purpose, below)) = (call.run(), wanted(call)?);
    let parent = below.unwrap_or_else(std::env::temp_dir);
    atomic::create_folder(&parent)?;
    let (folder, ticket) = call.wait(temp_folder(&run.ledger, &parent, &purpose))?;
    let path = path_text(&folder)?;
    let kept = run.options.keep;
    if kept {
        ticket.set_aside()?;
    }
    let end = if kept { "stays after the run" } else { "goes with the run" };
    call.evidence(format!("temporary folder {path} {end}"), json!({ "path": path, "kept": kept }));
    Ok(path.into())
}

/// Reads the folder's name and where it is to lie.
fn wanted(call: &Call) -> Result<(String, Option<PathBuf>)> {
    let (name, below) = if call.any(0).is::<Map>() {
        let mut options = call.options(0)?;
        let (name, below) = (options.text("name")?, options.text("below")?);
        options.finish()?;
        (name, below.filter(|folder| !folder.is_empty()).map(PathBuf::from))
    } else if call.any(0).is_unit() {
        (None, None)
    } else {
        (Some(call.text(0)?), None)
    };
    let name = name.unwrap_or_else(|| "work".into());
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let short = (1..=60).contains(&name.len());
    if short && name.chars().all(fits) {
        return Ok((name, below));
    }
    Err(call.wrong(0, "a short name of letters and digits"))
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(0) {
        wanted(call)?;
    }
    Ok("would make a private temporary folder".into())
}
