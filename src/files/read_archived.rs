//! Reading one small file of an archive without extracting anything.

use std::io::Read;
use std::path::Path;

use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::extract::Limits;
use super::glob::Glob;
use super::safe_path::inside;
use super::tar_reader::TarReader;
use super::unpacking::Unpacking;
use super::{open, shown};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

/// A longer text is data.
const TEXT_LIMIT: u64 = 16 << 20;

/// Returns the text of the one file in a `.tar` or `.tar.gz` whose path `pattern` matches, of at most 16 MiB.
///
/// The archive is read to its end: a second such file, or damage behind the first, is an error.
pub fn read_archived(
    archive: &Path,
    pattern: &Glob,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<String> {
    let (file, facts) = open(archive)?;
    progress.set_total(facts.len());
    let limits = Limits::default();
    let mut reader = TarReader::new(Unpacking::start(file, archive, &limits, progress, cancel)?, archive);
    let mut found: Option<Vec<u8>> = None;
    while let Some(head) = reader.next()? {
        let is_it = inside(&head.path).is_ok_and(|path| pattern.matches(&path));
        if !is_it || head.kind != EntryType::Regular {
            continue;
        }
        if head.size > TEXT_LIMIT {
            return Err(damaged(archive, "the file in it is larger than 16 MiB"));
        }
        if found.replace(content(&mut reader)?).is_some() {
            return Err(damaged(archive, "it holds more than one such file"));
        }
    }
    reader.into_inner().finish()?;
    let bytes = found.ok_or_else(|| Error::new(Kind::Missing, format!("{} holds no such file", shown(archive))))?;
    String::from_utf8(bytes).map_err(|_| damaged(archive, "the file in it is not UTF-8 text"))
}

fn content<R: Read>(reader: &mut TarReader<'_, R>) -> Result<Vec<u8>> {
    let (mut bytes, mut block) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match reader.read(&mut block)? {
            0 => return Ok(bytes),
            n => bytes.extend_from_slice(&block[..n]),
        }
    }
}

fn damaged(archive: &Path, why: &str) -> Error {
    let name = shown(archive);
    Error::new(Kind::Damaged, format!("could not read a file of {name}")).on(name).caused_by(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::archive::{Wanted, archive};
    use crate::files::digest::Digest;

    #[test]
    fn the_one_file_is_read_and_damage_behind_it_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("set");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(folder.join("sub/system.json"), "{}").unwrap();
        let noise: Vec<u8> = (0..4000_u32).flat_map(|n| Digest::of(&n.to_le_bytes()).as_bytes().to_vec()).collect();
        std::fs::write(folder.join("sub/z.bin"), noise).unwrap();
        let to = root.path().join("set.tar.gz");
        archive(&folder, &to, &Wanted::default(), &Progress::default(), &CancellationToken::new()).unwrap();
        let read = |pattern: &str| {
            read_archived(&to, &Glob::new(pattern).unwrap(), &Progress::default(), &CancellationToken::new())
        };
        assert_eq!(read("*/system.json").unwrap(), "{}");
        assert_eq!(read("*/absent").unwrap_err().kind(), Kind::Missing);
        assert_eq!(read("*/*").unwrap_err().kind(), Kind::Damaged);
        let mut bytes = std::fs::read(&to).unwrap();
        let late = bytes.len() - 50_000;
        bytes[late] ^= 1;
        std::fs::write(&to, bytes).unwrap();
        assert!(read("*/system.json").is_err());
    }
}
