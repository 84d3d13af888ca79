//! `inspect_backup`: reads a backup to its end without restoring it.

use std::path::Path;
use std::sync::Arc;

use rhai::Dynamic;

use super::handles::Inspection;
use super::{Call, Effect, Group, Primitive, proving, signatures};
use crate::backups::Format;
use crate::error::{Kind, Result};
use crate::postgres;
use crate::sqlite;

pub(super) const INSPECT_BACKUP: Primitive = Primitive {
    name: "inspect_backup",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["inspect_backup(path: string) -> Inspection"],
    manual: r#"
Reads a backup to its end without restoring it: digest, compression, text and, for SQL, every row against the manifest.

`.whole` says that nothing is wrong with the file, `.proven` that it is also what its manifest says, `.summary` what was
found. A damaged file is a result, not an error, so that a check can name it; a file that cannot be read is an error.
pg_dump's own archive is read by this machine's pg_restore, which gets no connection; where there is none that can, an
archive without a manifest is not `.whole`.

```rhai
with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    let saved = dump(db, temp_dir() + "/shop.sqlite.gz");
    let seen = inspect_backup(saved.path);
    check("the file is what its manifest says", seen.proven, seen.summary);
});
```
"#,
    work: |call| Ok(Dynamic::from(inspect(call)?)),
};

fn inspect(call: &Call) -> Result<Inspection> {
    let path = proving::stand_in(call, Path::new(&call.text(0)?))?;
    call.accessed(&path);
    let working = call.run().journal.working("inspect");
    let progress = working.progress.clone();
    let run = Arc::clone(call.run());
    let result = call.on_thread(move |cancel| {
        let inspection = if Format::of_name(&path.to_string_lossy()) == Some(Format::SqliteGz) {
            sqlite::inspect(&path, &progress, cancel)
        } else {
            postgres::inspect(&path, &progress, cancel)
        };
        let mut inspection = inspection?;
        signatures::look_at(&run, &path, &mut inspection)?;
        Ok(inspection)
    });
    drop(working);
    let inspection = match result {
        Ok(seen) => Inspection::read(seen),
        Err(error) if error.kind() == Kind::Damaged => Inspection::damaged(error.to_string()),
        Err(error) => return Err(error),
    };
    call.verified(inspection.to_string(), inspection.facts(), &inspection.verified());
    Ok(inspection)
}
