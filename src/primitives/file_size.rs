//! `file_size`: how many bytes a file holds.

use super::{Effect, Group, Primitive};
use crate::files::listing;

pub(super) const FILE_SIZE: Primitive = Primitive {
    name: "file_size",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["file_size(path: string) -> int"],
    manual: r#"
Returns how many bytes a file holds.

A file that is not there, a folder and a pipe are errors.

```rhai
let file = temp_dir() + "/orders.csv";
write_text(file, "12345");
check_eq("bytes", file_size(file), 5);
```
"#,
    work: |call| Ok(i64::try_from(listing::size(&call.path(0)?)?).unwrap_or(i64::MAX).into()),
};
