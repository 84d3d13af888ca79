//! Damages for a copy of a backup file: what a disk, a network or a hand does to a file and to what lies beside it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{checksum_path, manifest_path};
use crate::error::{Error, Kind, Result};

/// The titles of the damages.
pub const FILE_PLANTS: [&str; 10] = [
    "file cut in the middle",
    "last byte lost",
    "file empty",
    "bit flipped in the middle",
    "bit flipped near the end",
    "two blocks swapped",
    "bytes behind the end",
    "manifest with another count",
    "manifest lost",
    "checksum of another file",
];

/// The bytes of a block that is swapped.
const BLOCK: u64 = 64;

/// Plants one damage in a copy of a backup that is this run's own, and says what was done; `None` where the file is too
/// small for it or has nothing of the kind beside it.
pub fn plant_in_file(path: &Path, title: &str) -> Result<Option<String>> {
    let io = |e: std::io::Error| Error::io("damage", path, &e);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size < 4 * BLOCK && title == "two blocks swapped" || size == 0 {
        return Ok(None);
    }
    let done = match title {
        "file cut in the middle" => cut(&file, size / 2),
        "last byte lost" => cut(&file, size - 1),
        "file empty" => cut(&file, 0),
        "bit flipped in the middle" => flip(&file, size / 2),
        "bit flipped near the end" => flip(&file, size - size.min(5)),
        "two blocks swapped" => swap(&file, size / 2),
        "bytes behind the end" => file.write_all_at(b"behind", size).map(|()| "6 bytes behind the end".to_owned()),
        "manifest with another count" => return other_count(path),
        "manifest lost" => return lost(&manifest_path(path)),
        "checksum of another file" => return other_checksum(path),
        _ => return Err(Error::new(Kind::Bug, format!("there is no damage {title}"))),
    };
    done.map(Some).map_err(io)
}

fn cut(file: &File, to: u64) -> std::io::Result<String> {
    file.set_len(to).map(|()| format!("cut to {to} bytes"))
}

fn flip(file: &File, at: u64) -> std::io::Result<String> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 4], at)?;
    Ok(format!("bit 2 of byte {at} flipped"))
}

fn swap(file: &File, at: u64) -> std::io::Result<String> {
    let (mut first, mut second) = ([0; BLOCK as usize], [0; BLOCK as usize]);
    file.read_exact_at(&mut first, at - BLOCK)?;
    file.read_exact_at(&mut second, at)?;
    file.write_all_at(&second, at - BLOCK)?;
    file.write_all_at(&first, at)?;
    Ok(format!("the blocks before and behind byte {at} swapped"))
}

/// Adds a row to the first table in the manifest, as a manifest of another day would have it.
fn other_count(path: &Path) -> Result<Option<String>> {
    let beside = manifest_path(path);
    let Ok(text) = std::fs::read(&beside) else { return Ok(None) };
    let wrong = |e: serde_json::Error| Error::new(Kind::Damaged, "the manifest cannot be read").because(&e);
    let mut manifest: serde_json::Value = serde_json::from_slice(&text).map_err(wrong)?;
    let tables = manifest["fingerprint"]["tables"].as_object_mut().and_then(|tables| tables.iter_mut().next());
    let Some((name, table)) = tables else { return Ok(None) };
    let (name, rows) = (name.clone(), table["rows"].as_u64().unwrap_or_default());
    table["rows"] = (rows + 1).into();
    std::fs::write(&beside, manifest.to_string()).map_err(|e| Error::io("damage", &beside, &e))?;
    Ok(Some(format!("the manifest says {} rows of {name}, one more", rows + 1)))
}

fn lost(beside: &Path) -> Result<Option<String>> {
    if beside.symlink_metadata().is_err() {
        return Ok(None);
    }
    std::fs::remove_file(beside).map_err(|e| Error::io("remove", beside, &e))?;
    Ok(Some("the manifest removed".into()))
}

fn other_checksum(path: &Path) -> Result<Option<String>> {
    let beside = checksum_path(path);
    if beside.symlink_metadata().is_err() {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = format!("{}  {name}\n", "0123456789abcdef".repeat(4));
    std::fs::write(&beside, text).map_err(|e| Error::io("damage", &beside, &e))?;
    Ok(Some("the .sha256 file is another file's".into()))
}
