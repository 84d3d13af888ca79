//! `verify_checksums`: whether files are what they were when their checksums were written.

use rhai::Dynamic;

use super::handles::Verification;
use super::{Call, Effect, Group, Primitive};
use crate::compare::Level;
use crate::error::Result;
use crate::files::{checksums, shown};

pub(super) const VERIFY_CHECKSUMS: Primitive = Primitive {
    name: "verify_checksums",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["verify_checksums(file: string) -> Verification"],
    manual: r#"
Reads every file that a checksum list names and says whether each is unchanged.

The list is a `checksums.txt` of `write_checksums`, a `.sha256` beside a backup, or what `sha256sum` wrote; its paths are
relative to the folder it lies in. The result has `intact`, `summary`, and the lists `changed`, `missing`, `unreadable`
and `extra` (files that are not listed: no damage, but perhaps not backed up). A difference does not throw: check
`intact`. A list that is empty, broken or names paths outside of its folder proves nothing and throws ("damaged").

```rhai
let set = temp_dir();
write_text(set + "/a.csv", "1");
let list = write_checksums(set).path;
let found = verify_checksums(list);
check("every file is as it was", found.intact, found.summary);
write_text(set + "/a.csv", "2");
check_eq("the change is seen", verify_checksums(list).changed, ["a.csv"]);
```
"#,
    work: |call| Ok(verify_checksums(call)?),
};

fn verify_checksums(call: &Call) -> Result<Dynamic> {
    let list = call.path(0)?;
    let name = shown(&list);
    let (found, bytes) = call.on_thread_with(&format!("verify {name}"), move |progress, cancel| {
        Ok((checksums::verify_checksums(&list, progress, cancel)?, progress.done()))
    })?;
    let found = Verification::from(found);
    let verified = found.verified(&[Level::File], bytes);
    call.verified(format!("{name}: {}", found.summary()), found.facts("path", &name), &verified);
    Ok(Dynamic::from(found))
}
