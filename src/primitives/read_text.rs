//! `read_text`: the text of a small file.

use super::{Effect, Group, Primitive};
use crate::files::listing;

pub(super) const READ_TEXT: Primitive = Primitive {
    name: "read_text",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["read_text(path: string) -> string"],
    manual: r#"
Returns the text of a file.

It must be UTF-8 ("damaged" otherwise) and at most 16 MiB ("refused" otherwise). A password belongs into `secret`, which
reads a file as well and hides what it holds.

```rhai
let file = temp_dir() + "/version";
write_text(file, "68\n");
check_eq("version", read_text(file).len(), 3);
```
"#,
    work: |call| {
        let path = call.path(0)?;
        Ok(call.on_thread(move |_| listing::read_text(&path))?.into())
    },
};
