//! `backup`: opens a backup file.

use std::path::Path;
use std::sync::Arc;

use rhai::Dynamic;

use super::handles::Backup;
use super::{Effect, Group, Primitive, proving, signatures};

pub(super) const BACKUP: Primitive = Primitive {
    name: "backup",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["backup(path: string) -> Backup"],
    manual: r#"
Opens a backup file with its manifest.

A dump of another tool has no manifest: it can be restored and inspected, but what it held cannot be proven. A manifest
of another file, or of another size, is an error. In a run with `--trust NAME.pub` so is one that this key did not sign.
`inspect_backup` reads the file to its end.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    let saved = dump(db, temp_dir() + "/shop.sqlite.gz");
    let again = backup(saved.path);
    check_eq("the same file", again.sha256, saved.sha256);
});
```
"#,
    work: |call| {
        let path = proving::stand_in(call, Path::new(&call.text(0)?))?;
        let run = Arc::clone(call.run());
        Ok(Dynamic::from(Backup::new(call.on_thread(move |_| signatures::open(&run, &path))?)))
    },
};
