//! `catalog`: a folder of backup sets.

use std::sync::Arc;

use rhai::Dynamic;

use super::handles::Catalog;
use super::{Effect, Group, Primitive};
use crate::backups;

pub(super) const CATALOG: Primitive = Primitive {
    name: "catalog",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["catalog(folder: string) -> Catalog"],
    manual: r#"
Opens a folder of backup sets: `.create .list .latest .get .retention .prune .stats`.

A set is a folder `system_backup_YYYYMMDD_HHMMSS` with one file or folder for each component, `metadata.json` and
`checksums.txt`. The catalog's folder need not be there before the first set is made.

```rhai
let backups = catalog(temp_dir() + "/backups");
check_eq("no set yet", backups.list().len(), 0);
```
"#,
    work: |call| Ok(Dynamic::from(Catalog(Arc::new(backups::Catalog::new(&call.path(0)?))))),
};
