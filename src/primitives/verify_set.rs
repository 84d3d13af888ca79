//! `verify_set`: every file of a backup set against its checksum and size.

use std::sync::Arc;

use rhai::{Dynamic, Map};
use serde_json::json;

use super::handles::BackupSet;
use super::{Effect, Group, Primitive};
use crate::compare::{Extent, Level, Verified};
use crate::units;

pub(super) const VERIFY_SET: Primitive = Primitive {
    name: "verify_set",
    group: Group::Sets,
    effect: Effect::Reads,
    signatures: &["verify_set(set: BackupSet) -> map"],
    manual: r#"
Reads every file of a backup set and compares it with its checksum; sizes and links of the components, too.

The result is a map: `intact`, `files`, `problems` (one line for each file that is missing, changed or not listed) and
`summary`. Damage does not throw: check `intact`. A set that cannot be read at all throws ("damaged").

```rhai
let set = catalog(temp_dir()).create(#{ "notes": |to| write_text(to + ".txt", "a") });
check("before", set.verify_set().intact);
write_text(set.path("notes"), "b");
check_eq("the change is seen", set.verify_set().problems[0], "notes.txt does not match its checksum");
```
"#,
    work: |call| {
        let set: BackupSet = call.handle(0, "a BackupSet")?;
        let name = set.0.name.clone();
        call.accessed(&set.0.folder);
        let trust = Arc::clone(&call.run().options.trust);
        let components = set.0.metadata.as_ref().map_or(0, |metadata| metadata.components.len() as u64);
        let (files, problems, bytes) = call.on_thread_with(&format!("verify {name}"), move |progress, cancel| {
            let (files, mut problems) = set.0.verify(progress, cancel)?;
            if !trust.is_empty() {
                problems.extend(set.0.signed_by(&trust).err().map(|error| error.to_string()));
            }
            Ok((files, problems, progress.done()))
        })?;
        let summary = match problems.as_slice() {
            [] => format!("{} match their checksums", units::count(files, "file")),
            [one] => one.clone(),
            [first, ..] => format!("{first}, and {} more", problems.len() - 1),
        };
        let facts = json!({ "set": name, "intact": problems.is_empty(), "files": files, "problems": problems });
        let extent = Extent { components, files, bytes, ..Extent::default() };
        let verified = Verified::held(&[Level::File], extent).only_if(problems.is_empty()).without(
            "what the components hold",
            "their bytes were compared with the list; inspect_backup and restore open them",
        );
        call.verified(format!("{name}: {summary}"), facts, &verified);
        let mut map = Map::new();
        map.insert("intact".into(), problems.is_empty().into());
        map.insert("files".into(), files.cast_signed().into());
        map.insert("summary".into(), summary.into());
        map.insert("problems".into(), problems.into_iter().map(Dynamic::from).collect::<rhai::Array>().into());
        Ok(map.into())
    },
};
