//! `restore_volume`: a file becomes a Docker volume again.

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::compare::{Extent, Level, Verified};
use crate::docker::{self, VolumeOptions};
use crate::error::Result;
use crate::files;
use crate::script::from_json;
use crate::units;

pub(super) const RESTORE_VOLUME: Primitive = Primitive {
    name: "restore_volume",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["restore_volume(archive: string, name: string, options?: map) -> map"],
    manual: r#"
Fills a new or empty Docker volume from an archive of `backup_volume`, reads it back and compares every entry.

The result is a map: `volume`, `new`, `entries`, `bytes` and `checked`. The archive is first read to its end: checksum,
inventory and every name in it; a damaged or hostile one touches nothing. A new volume gets the labels of the old one, so
that Compose knows it again, or those of the option `labels`. What a restore that failed has made is removed. With
`temporary: true` the volume must be new and goes with the run.

A volume in use is refused, and one that holds something as well, unless `replace: true`: then it is removed and made
anew, which needs its containers to be removed before (`docker compose rm`). Back up what it holds first.

```rhai,no_run
let back = restore_volume("backups/shop_uploads_20260101_020000.tar.gz", "drill_uploads");
check("every file is back", back.entries > 0, `${back.entries} entries`);
```
"#,
    work: |call| Ok(restore_volume(call)?),
};

fn options(call: &Call) -> Result<VolumeOptions> {
    let mut given = call.options(2)?;
    let options = VolumeOptions {
        replace: given.flag("replace")?,
        temporary: given.flag("temporary")?,
        labels: given.text_map("labels")?,
    };
    given.finish()?;
    Ok(options)
}

fn restore_volume(call: &Call) -> Result<Dynamic> {
    let (archive, name, options, run) = (call.path(0)?, call.text(1)?, options(call)?, call.run());
    let path = path_text(&archive)?;
    call.accessed(&archive);
    let shown = run.journal.working(&format!("restore volume {name}"));
    let engine = &call.host().docker;
    let restoring = docker::restore_volume(engine, &archive, &name, &options, &run.ledger, &shown.progress);
    let restored = call.wait(restoring)?;
    drop(shown);
    let levels = [Level::File, Level::Parse, Level::Restore, Level::Content];
    let facts = json!({
        "volume": name,
        "archive": path,
        "new": restored.new,
        "entries": restored.tree.entries,
        "bytes": restored.tree.bytes,
        "checked": levels,
    });
    let entries = units::count(restored.tree.entries, "file");
    let extent = Extent { files: restored.tree.entries, bytes: restored.tree.bytes, ..Extent::default() };
    let told = format!("{entries} of {path} are in volume {name}, and were read back");
    call.verified(told, facts.clone(), &Verified::held(&levels, extent));
    Ok(from_json(facts))
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(2) {
        options(call)?;
    }
    if let Some(archive) = call.present_path(0)? {
        files::open(&archive)?;
    }
    Ok(format!("would restore {} into volume {}", call.shown(0), call.shown(1)))
}
