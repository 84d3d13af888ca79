//! `unpin`: retention judges a backup set again.

use super::handles::BackupSet;
use super::{Effect, Group, Primitive};

pub(super) const UNPIN: Primitive = Primitive {
    name: "unpin",
    group: Group::Sets,
    effect: Effect::Writes(|call| Ok(format!("would unpin {}", call.shown(0)))),
    signatures: &["unpin(set: BackupSet) -> bool"],
    manual: r#"
Takes the pin of a backup set away and returns whether there was one.

```rhai
let set = catalog(temp_dir()).create(#{ "notes": |to| write_text(to + ".txt", "a") });
set.pin("before the upgrade");
check("there was one", set.unpin());
```
"#,
    work: |call| {
        let set: BackupSet = call.handle(0, "a BackupSet")?;
        call.will_lose(&set.0.folder)?;
        Ok(call.on_thread(move |_| set.0.unpin())?.into())
    },
};
