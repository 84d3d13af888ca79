//! `mentions`: how often a text stands in a backup, packed or not.

use std::io::Read;

use memchr::memmem;
use rhai::Dynamic;

use super::{Call, Effect, Group, Primitive};
use crate::backups::{Backup, Content};
use crate::error::{Error, Kind, Result};

/// How much of the content is looked at in one go.
const BLOCK: usize = 256 << 10;

pub(super) const MENTIONS: Primitive = Primitive {
    name: "mentions",
    group: Group::Primitives,
    effect: Effect::Reads,
    signatures: &["mentions(backup: string, text: string) -> int"],
    manual: r#"
Returns how often a text stands in a backup file once it is unpacked: `grep` for `.sql`, `.sql.gz` and `.sql.zst`.

It answers "does this file have a COPY statement for orders at all?" for dumps of any tool, without a restore. The file is
read to its end; a damaged one is an error. That a text is there proves nothing about the rows: `inspect_backup` counts
them, a restore proves them.

```rhai
let file = temp_dir() + "/orders.sql";
write_text(file, "COPY public.orders (id) FROM stdin;\n1\n\\.\n");
check_eq("one COPY statement", mentions(file, "COPY public.orders "), 1);
check_eq("nothing of users", mentions(file, "users"), 0);
```
"#,
    work: |call| Ok(mentions(call)?),
};

fn mentions(call: &Call) -> Result<Dynamic> {
    let path = call.path(0)?;
    let text = call.text(1)?;
    if text.is_empty() {
        return Err(Error::new(Kind::Usage, "an empty text stands everywhere").hint("name what to look for"));
    }
    call.accessed(&path);
    let found = call.on_thread_with("mentions", move |progress, cancel| {
        let backup = Backup::open(&path)?;
        let mut content = Content::open(&backup, progress, cancel)?;
        let found = count(&mut content, text.as_bytes()).map_err(|e| content.error(&e))?;
        content.finish()?;
        Ok(found)
    })?;
    Ok(found.into())
}

/// Counts a text in a stream. What a block ends with is looked at again with the next: the text may lie across both.
fn count(stream: &mut impl Read, text: &[u8]) -> std::io::Result<i64> {
    let finder = memmem::Finder::new(text);
    let mut window = vec![0; BLOCK.max(4 * text.len())];
    let (mut kept, mut found) = (0, 0);
    loop {
        let read = stream.read(&mut window[kept..])?;
        if read == 0 {
            return Ok(found);
        }
        let filled = kept + read;
        let mut behind = 0;
        for at in finder.find_iter(&window[..filled]) {
            found += 1;
            behind = at + text.len();
        }
        let from = behind.max(filled.saturating_sub(text.len() - 1));
        window.copy_within(from..filled, 0);
        kept = filled - from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives so many bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn a_text_is_counted_once_wherever_the_blocks_end() {
        let all = b"abcabc xx abcab abc aaaa";
        for size in 1..=all.len() {
            let counted = |text: &[u8]| count(&mut Slow(all, size), text).expect("it can be read");
            assert_eq!((counted(b"abc"), counted(b"aa"), counted(b"a"), counted(b"z")), (4, 2, 9, 0), "{size}");
        }
    }
}
