//! `exists`: whether something is there.

use super::{Effect, Group, Primitive};
use crate::files::listing;

pub(super) const EXISTS: Primitive = Primitive {
    name: "exists",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["exists(path: string) -> bool"],
    manual: r#"
Returns whether a file or folder is there.

A link that leads nowhere is not there. Where it cannot be told, for want of permission for instance, it throws: an
answer of "no" could make a script write over what it did not see.

```rhai
let work = temp_dir();
check("the folder is there", exists(work));
check("no file yet", !exists(work + "/orders.csv"));
```
"#,
    work: |call| Ok(listing::exists(&call.path(0)?)?.into()),
};
