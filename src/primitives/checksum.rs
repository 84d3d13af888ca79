//! `checksum`: digests a file, so that two copies can be compared.

use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::error::Result;
use crate::files::digest::Digest;
use crate::files::{listing, shown};

pub(super) const CHECKSUM: Primitive = Primitive {
    name: "checksum",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["checksum(path: string) -> string"],
    manual: r#"
Returns the SHA-256 of a file as 64 hexadecimal digits, as `sha256sum` prints it.

The file is read to its end. One that is not there is an error (`e.kind` is "missing"), and so is a folder or a pipe;
for all files of a folder use `write_checksums`.

```rhai
let copy = temp_dir() + "/orders.csv";
write_text(copy, "abc");
check_eq("content", checksum(copy), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
```
"#,
    work: |call| Ok(checksum(call)?),
};

fn checksum(call: &Call) -> Result<Dynamic> {
    let path = call.path(0)?;
    let name = shown(&path);
    let digest = call.on_thread_with(&format!("checksum {name}"), move |progress, cancel| {
        progress.set_total(listing::size(&path)?);
        Ok(Digest::of_file(&path, progress, cancel)?.to_string())
    })?;
    Ok(digest.into())
}
