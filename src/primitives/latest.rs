//! `latest`: the newest set of a catalog that can be used.

use rhai::Dynamic;

use super::handles::{BackupSet, Catalog};
use super::{Effect, Group, Primitive};

pub(super) const LATEST: Primitive = Primitive {
    name: "latest",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["latest(catalog: Catalog) -> BackupSet"],
    manual: r#"
Returns the newest backup set that can be used: `backups.latest()`.

A set in which a component failed, that cannot be read or is dated in the future is passed over. Without any it throws.

```rhai
let work = temp_dir();
let backups = catalog(work);
backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
check("it is the new one", (now() - backups.latest().taken_at).seconds < 3600.0);
```
"#,
    work: |call| {
        let catalog: Catalog = call.handle(0, "a Catalog")?;
        let now = call.run().started_at;
        Ok(Dynamic::from(BackupSet::new(call.on_thread(move |_| catalog.0.latest(now))?)))
    },
};
