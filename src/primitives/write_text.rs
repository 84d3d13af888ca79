//! `write_text`: a small file, whole or not at all.

use std::path::Path;

use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::backups;
use crate::error::{Error, Kind, Result};
use crate::files::{listing, shown};

pub(super) const WRITE_TEXT: Primitive = Primitive {
    name: "write_text",
    group: Group::Files,
    effect: Effect::Writes(plan),
    signatures: &["write_text(path: string, text: string) -> ()"],
    manual: r#"
Writes a text into a file, in the place of an older one, and makes the folders above it.

Nobody ever sees half of it. Files are made for their owner alone (0600). A backup or archive, that is a file with a
checksum or manifest beside it, is not replaced, and neither is its checksum or manifest: that is refused.

```rhai
let file = temp_dir() + "/notes/drill.txt";
write_text(file, "restored in 4 minutes");
check_eq("text", read_text(file), "restored in 4 minutes");
```
"#,
    work: |call| Ok(write_text(call)?),
};

fn write_text(call: &Call) -> Result<Dynamic> {
    let (path, text) = (call.path(0)?, call.text(1)?);
    refuse_backup(&path)?;
    call.on_thread(move |_| listing::write_text(&path, &text))?;
    Ok(Dynamic::UNIT)
}

/// Refuses to write over a backup and over what proves it.
fn refuse_backup(path: &Path) -> Result<()> {
    let name = path.to_string_lossy();
    let proves =
        [".sha256", ".manifest.json", ".manifest.json.sig"].iter().filter_map(|ending| name.strip_suffix(ending));
    let is_proof = proves.map(Path::new).any(|proven| path.exists() && proven.exists());
    let is_proven = [backups::manifest_path(path), backups::checksum_path(path)].iter().any(|p| p.exists());
    if is_proof || (is_proven && path.exists()) {
        let name = shown(path);
        return Err(Error::new(Kind::Refused, format!("{name} belongs to a backup and is not replaced"))
            .on(name)
            .hint("choose another name; a backup is never overwritten"));
    }
    Ok(())
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(1) {
        call.text(1)?;
    }
    if let Some(path) = call.present_path(0)? {
        refuse_backup(&path)?;
    }
    call.announce_change(0)?;
    Ok(format!("would write a text to {}", call.shown(0)))
}
