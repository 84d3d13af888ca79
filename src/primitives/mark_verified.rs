//! `mark_verified`: what a verification of a backup set came to, written into the set.

use rhai::Dynamic;

use super::handles::BackupSet;
use super::{Call, Effect, Group, Primitive};
use crate::backups::Verified;
use crate::error::Result;

pub(super) const MARK_VERIFIED: Primitive = Primitive {
    name: "mark_verified",
    group: Group::Sets,
    effect: Effect::Writes(|call| Ok(format!("would note in {} whether it is verified", call.shown(0)))),
    signatures: &["mark_verified(set: BackupSet, passed: bool|array, how: string) -> ()"],
    manual: r#"
Writes into a backup set what its verification came to; the last one counts.

`passed` may be a list of what was checked: all of it must hold. Retention always keeps the newest set that passed, and never counts one that failed.

```rhai
let backups = catalog(temp_dir());
let set = backups.create(#{ "notes": |to| write_text(to + ".txt", "a") });
set.mark_verified(set.verify_set().intact, "checksums");
check("it is verified", backups.latest().verified);
```
"#,
    work: |call| {
        let set: BackupSet = call.handle(0, "a BackupSet")?;
        let verified = Verified { at: jiff::Timestamp::now(), passed: passed(call)?, how: call.text(2)? };
        call.accessed(&set.0.folder);
        call.on_thread(move |_| set.0.note_verified(&verified))?;
        Ok(Dynamic::UNIT)
    },
};

/// A list of nothing proves nothing.
fn passed(call: &Call) -> Result<bool> {
    if !call.any(1).is::<rhai::Array>() {
        return call.truth(1);
    }
    let checks = call.list(1)?;
    let checks = checks.iter().map(|c| c.as_bool().map_err(|_| call.wrong(1, "a list of true and false")));
    let checks = checks.collect::<Result<Vec<_>>>()?;
    Ok(!checks.is_empty() && checks.into_iter().all(|holds| holds))
}
