//! `list`: the sets of a catalog.

use rhai::Dynamic;

use super::handles::{BackupSet, Catalog};
use super::{Effect, Group, Primitive};

pub(super) const LIST: Primitive = Primitive {
    name: "list",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["list(catalog: Catalog) -> array"],
    manual: r#"
Returns the backup sets of a catalog, newest first: `backups.list()`.

Sets that cannot be used are in the list as well, so that nobody counts on them: `.whole` is false, `.state` is `failed`,
`future` or `unreadable`, and `.problem` says why.

```rhai
for set in catalog(temp_dir()).list() {
    log(`${set.name}: ${set.summary}`);
}
```
"#,
    work: |call| {
        let catalog: Catalog = call.handle(0, "a Catalog")?;
        let now = call.run().started_at;
        let sets = call.on_thread(move |_| catalog.0.list(now))?;
        Ok(sets.into_iter().map(|set| Dynamic::from(BackupSet::new(set))).collect::<rhai::Array>().into())
    },
};
