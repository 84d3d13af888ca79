//! `pin`: a backup set that stays for ever.

use super::handles::BackupSet;
use super::{Effect, Group, Primitive};

pub(super) const PIN: Primitive = Primitive {
    name: "pin",
    group: Group::Sets,
    effect: Effect::Writes(|call| Ok(format!("would pin {}", call.shown(0)))),
    signatures: &["pin(set: BackupSet, why: string) -> ()"],
    manual: r#"
Keeps a backup set for ever: retention leaves it alone until `unpin`. The reason is written into the set.

```rhai
let backups = catalog(temp_dir());
let set = backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
set.pin("before the upgrade");
check("it is pinned", backups.latest().pinned);
```
"#,
    work: |call| {
        let set: BackupSet = call.handle(0, "a BackupSet")?;
        let why = call.text(1)?;
        call.accessed(&set.0.folder);
        Ok(call.on_thread(move |_| set.0.pin(&why))?.into())
    },
};
