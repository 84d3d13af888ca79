//! `list_files`: the files that a pattern matches.

use rhai::{Dynamic, Map};

use super::paths::path_text;
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::files::listing::{self, Listed};
use crate::script::Time;

pub(super) const LIST_FILES: Primitive = Primitive {
    name: "list_files",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["list_files(pattern: string) -> array"],
    manual: r#"
Returns the files that a pattern matches, sorted by path: a list of maps with `path`, `size` and `modified`.

`*` and `?` match within a name and pass over names that start with a dot, `**` goes through folders, `[a-z]` and
`{gz,zst}` choose, `\` takes the next character literally. A folder's name stands for the files in it. Links below
the folder where the pattern starts are neither listed nor entered. A folder that is not there is an error; a pattern
that matches nothing is an empty list.

```rhai
let set = temp_dir();
write_text(set + "/a.csv", "12345");
write_text(set + "/old/b.csv", "1");
let found = list_files(set + "/**/*.csv");
check_eq("files", found.len(), 2);
check_eq("size", found[0].size, 5);
check("fresh", (now() - found[0].modified).seconds < 3600.0);
```
"#,
    work: |call| Ok(list_files(call)?),
};

fn list_files(call: &Call) -> Result<Dynamic> {
    call.path(0)?;
    let pattern = call.text(0)?;
    let found = call.on_thread(move |_| listing::list_files(&pattern))?;
    Ok(found.iter().map(map).collect::<Result<rhai::Array>>()?.into())
}

fn map(file: &Listed) -> Result<Dynamic> {
    let path = path_text(&file.path)?;
    let modified = jiff::Timestamp::try_from(file.modified)
        .map_err(|e| Error::new(Kind::Io, format!("the time of {path} is out of range")).on(&*path).because(&e))?;
    let mut map = Map::new();
    map.insert("path".into(), path.into());
    map.insert("size".into(), i64::try_from(file.size).unwrap_or(i64::MAX).into());
    map.insert("modified".into(), Dynamic::from(Time(modified)));
    Ok(map.into())
}
