//! `verify_files`: whether a folder holds what an archive saved.

use rhai::Dynamic;

use super::handles::Verification;
use super::{Call, Effect, Group, Primitive};
use crate::compare::Level;
use crate::error::Result;
use crate::files::{held, shown};

pub(super) const VERIFY_FILES: Primitive = Primitive {
    name: "verify_files",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["verify_files(archive: string, folder: string) -> Verification"],
    manual: r#"
Holds what is in a folder against the inventory of an archive: every file's content and permissions, every link, every
folder.

The archive itself is not read, only the `.manifest.json` that `archive` wrote beside it. The result is that of
`verify_checksums`: `intact`, `summary`, `changed` (with what differs), `missing`, `unreadable` and `extra` (what the
archive does not hold; no damage). Permissions of folders are left aside: one that was there before keeps its own.

```rhai
let work = temp_dir();
write_text(work + "/models/v1.bin", "weights");
let made = archive(work + "/models", work + "/models.tar.gz");
let found = verify_files(made.path, work + "/models");
check("every file is what was saved", found.intact, found.summary);
write_text(work + "/models/v1.bin", "other weights");
check_eq("the change is seen", verify_files(made.path, work + "/models").changed, ["v1.bin"]);
```
"#,
    work: |call| Ok(verify_files(call)?),
};

fn verify_files(call: &Call) -> Result<Dynamic> {
    let (archive, folder) = (call.path(0)?, call.path(1)?);
    let (from, name) = (shown(&archive), shown(&folder));
    let (found, bytes) = call.on_thread_with(&format!("verify {name}"), move |progress, cancel| {
        Ok((held::verify_files(&archive, &folder, progress, cancel)?, progress.done()))
    })?;
    let found = Verification::from(found);
    let mut facts = found.facts("folder", &name);
    facts["archive"] = from.clone().into();
    let verified = found
        .verified(&[Level::Structure, Level::Content], bytes)
        .without("the archive itself", "only its inventory was read: the archive was, when it was unpacked");
    call.verified(format!("{name} against {from}: {}", found.summary()), facts, &verified);
    Ok(Dynamic::from(found))
}
