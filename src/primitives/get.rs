//! `get`: one set of a catalog by its name.

use rhai::Dynamic;

use super::handles::{BackupSet, Catalog};
use super::{Effect, Group, Primitive};

pub(super) const GET: Primitive = Primitive {
    name: "get",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["get(catalog: Catalog, name: string) -> BackupSet"],
    manual: r#"
Returns the backup set of a name: `backups.get("system_backup_20261120_020000")`; `"latest"` is the newest that can be used.

A set that is there but cannot be used is returned as well: ask `.whole` and `.problem`.

```rhai
let backups = catalog(temp_dir());
let made = backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
check_eq("the same set", backups.get(made.name).folder, backups.get("latest").folder);
```
"#,
    work: |call| {
        let catalog: Catalog = call.handle(0, "a Catalog")?;
        let name = call.text(1)?;
        let now = call.run().started_at;
        Ok(Dynamic::from(BackupSet::new(call.on_thread(move |_| catalog.0.get(&name, now))?)))
    },
};
