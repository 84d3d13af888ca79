//! Names in an archive: which may become files below a folder, which links stay in it, and which names are twins.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// The longest path that Linux takes.
const PATH_LIMIT: usize = 4_096;
/// The longest name.
const NAME_LIMIT: usize = 255;

/// Returns an entry's path below the folder, or why it cannot have one. The folder itself is the empty path.
pub(crate) fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    if name.is_empty() {
        return Err("its name is empty");
    }
    if name.contains(&0) {
        return Err("its name holds a zero byte");
    }
    if name.len() > PATH_LIMIT {
        return Err("its path is too long");
    }
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(name) if name.len() > NAME_LIMIT => return Err("its name is too long"),
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("its path holds `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("its path is absolute"),
        }
    }
    Ok(path)
}

/// Returns whether a symbolic link at `link` (below the folder) stays in the folder.
///
/// `..` may only lead the target. Behind a name it would climb from wherever that name, perhaps a link itself, leads:
/// `up/../x` leaves although its text does not. With this rule every link that is reached stays inside by induction.
pub(crate) fn link_stays(link: &Path, target: &Path) -> bool {
    let mut room = link.components().count().saturating_sub(1);
    let mut named = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if named || room == 0 => return false,
            Component::ParentDir => room -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

/// Returns what a path is called where case and Unicode form do not count, as on macOS and Windows.
pub(crate) fn folded(path: &Path) -> String {
    path.to_string_lossy().nfc().collect::<String>().to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_are_refused() {
        for name in ["../x", "/x", "a/../../x", "a/..", "", "a\0b"] {
            assert!(inside(name.as_bytes()).is_err(), "{name}");
        }
        assert!(inside("a".repeat(256).as_bytes()).is_err());
        assert_eq!(inside(b"./a//b/.").unwrap(), Path::new("a/b"));
        assert_eq!(inside(b"./").unwrap(), Path::new(""));
    }

    #[test]
    fn links_that_leave_are_told_from_those_that_stay() {
        for (link, target, stays) in [
            ("l", "a", true),
            ("l", "..", false),
            ("a/l", "..", true),
            ("a/l", "../b/c", true),
            ("a/l", "../../b", false),
            ("l", "/etc", false),
            ("l", "s/up/../foo", false),
            ("l", ".", true),
            ("l", "", false),
        ] {
            assert_eq!(link_stays(Path::new(link), Path::new(target)), stays, "{link} -> {target}");
        }
    }

    #[test]
    fn twins_fold_to_one_name() {
        assert_eq!(folded(Path::new("É/Readme")), folded(Path::new("e\u{301}/README")));
        assert_ne!(folded(Path::new("a")), folded(Path::new("b")));
    }
}
