//! `read_archived`: the text of a small file in an archive that stays packed.

use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Result};
use crate::files::glob::Glob;
use crate::files::read_archived::read_archived as read;
use crate::files::shown;

pub(super) const READ_ARCHIVED: Primitive = Primitive {
    name: "read_archived",
    group: Group::Files,
    effect: Effect::Reads,
    signatures: &["read_archived(archive: string, pattern: string) -> string"],
    manual: r#"
Returns the text of the one file in a `.tar` or `.tar.gz` whose path the pattern matches; nothing is extracted.

The archive is read to its end, so that a second such file or damage behind the first is an error ("damaged"). The file
is UTF-8 and has at most 16 MiB. One that is not there is an error ("missing").

```rhai
let work = temp_dir();
write_text(work + "/config/app.toml", "port = 8080");
let made = archive(work, work + "/config.tar.gz", #{ parts: ["config"] });
check_eq("content", read_archived(made.path, "config/*.toml"), "port = 8080");
```
"#,
    work: |call| Ok(read_archived(call)?),
};

fn read_archived(call: &Call) -> Result<Dynamic> {
    let (archive, pattern) = (call.path(0)?, call.text(1)?);
    let glob = Glob::new(&pattern)?.with_hidden();
    let name = shown(&archive);
    let text =
        call.on_thread_with(&format!("read {name}"), move |progress, cancel| read(&archive, &glob, progress, cancel));
    text.map(Dynamic::from)
        .map_err(|e| Error::new(e.kind(), format!("could not read {pattern} of {name}")).on(name).caused_by_error(e))
}
