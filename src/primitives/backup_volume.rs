//! `backup_volume`: a Docker volume becomes one file.

use rhai::Dynamic;
use serde_json::json;

use super::paths::{path_text, refuse_taken};
use super::{Call, Effect, Group, Primitive};
use crate::docker::{self, Volume};
use crate::error::Result;
use crate::script::from_json;
use crate::units;

pub(super) const BACKUP_VOLUME: Primitive = Primitive {
    name: "backup_volume",
    group: Group::Docker,
    effect: Effect::Writes(plan),
    signatures: &["backup_volume(name: string, to: string) -> map"],
    manual: r#"
Packs a Docker volume into a new `.tar.gz`, with its inventory and checksum beside it, and returns what it made.

The result is a map: `path`, `volume`, `size`, `sha256`, `entries`, `raw_size` and `in_use` (the containers that ran with
it). Owners, modes with setuid and sticky bits, times, links, pipes and empty folders are kept, and those of the volume's
own folder; extended attributes are kept as far as the Engine gives them. The Engine reads the volume through a container
that is made from an empty image and never started: nothing is pulled and nothing runs.

A volume that is in use is read with a warning, because its files may change meanwhile: stop the services first, with
`stop_services`. A database's volume that is read while the database runs is no backup of it: use `dump`.

```rhai,no_run
let stopped = stop_services(#{ volumes: ["shop_uploads"] });
defer(|| start_services(stopped));
let made = backup_volume("shop_uploads", `backups/${timestamp_name("shop_uploads")}.tar.gz`);
check("it was idle", made.in_use.is_empty());
```
"#,
    work: |call| Ok(backup_volume(call)?),
};

fn backup_volume(call: &Call) -> Result<Dynamic> {
    let (name, to, run) = (call.text(0)?, call.path(1)?, call.run());
    let path = path_text(&to)?;
    refuse_taken(&to)?;
    let writing = call.writing(&to)?;
    let shown = run.journal.working(&format!("read volume {name}"));
    let made = docker::back_up_volume(&call.host().docker, &name, &to, &run.ledger, &shown.progress);
    let (volume, made) = call.wait(made)?;
    drop(shown);
    call.written(writing)?;
    call.accessed(&to);
    let in_use = volume.running();
    if !in_use.is_empty() {
        call.warn(in_use_words(&volume));
    }
    made.cautions.iter().for_each(|caution| call.warn(caution));
    let facts = json!({
        "path": path,
        "volume": name,
        "size": made.size,
        "sha256": made.sha256,
        "entries": made.entries,
        "raw_size": made.raw_size,
        "in_use": in_use,
    });
    let entries = units::count(made.entries, "file");
    call.evidence(format!("volume {name} is in {path}: {entries}, {}", units::size(made.size)), facts.clone());
    Ok(from_json(facts))
}

fn in_use_words(volume: &Volume) -> String {
    let by = volume.running().join(", ");
    format!("volume {} was read while {by} used it: files that changed meanwhile may not fit together", volume.name)
}

fn plan(call: &Call) -> Result<String> {
    if !call.is_unknown(0) {
        call.wait(Volume::find(&call.host().docker, &call.text(0)?))?;
    }
    if let Some(to) = call.present_path(1)? {
        refuse_taken(&to)?;
    }
    call.announce_change(1)?;
    Ok(format!("would pack volume {} into {}", call.shown(0), call.shown(1)))
}
