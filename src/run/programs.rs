//! The programs that scripts may start: none, but for those that the operator names.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::process;

/// The programs that an operator allows, as written: bare names or absolute paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs(Vec<String>);

impl Programs {
    /// Takes the names of the command line and of `runner.toml`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self> {
        let names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(Error::new(Kind::Usage, format!("`{name}` names no program"))
                .hint("write a bare name that is found on PATH, or an absolute path")),
            None => Ok(Self(names)),
        }
    }

    /// Returns where an allowed program lies, or refuses.
    ///
    /// A name and a path are the same program when they lead to one file in one folder. The file itself is not resolved
    /// further: where many names are links to one binary, allowing `ls` must not allow `sh`.
    pub fn allow(&self, program: &str) -> Result<PathBuf> {
        if !is_plain(program) {
            return Err(Error::new(Kind::Usage, format!("`{program}` is no name of a program"))
                .hint("write a bare name that is found on PATH, or an absolute path; there is no shell"));
        }
        let allowed = || self.0.iter().any(|name| name == program);
        let Some(wanted) = place(program) else {
            return Err(match allowed() {
                true => Error::new(Kind::Missing, format!("there is no program {program}")).on(program),
                false => refused(program),
            });
        };
        match self.0.iter().filter_map(|name| place(name)).any(|place| place == wanted) {
            true => Ok(wanted),
            false => Err(refused(program)),
        }
    }
}

fn refused(program: &str) -> Error {
    Error::new(Kind::Refused, format!("the script may not start {program}"))
        .on(program)
        .caused_by("the operator has not allowed it")
        .hint(format!(
            "if you trust the script with it: --allow-run {program}, or in runner.toml: [run] programs = [\"{program}\"]"
        ))
}

/// A bare name or an absolute path, and nothing that a work folder decides.
fn is_plain(name: &str) -> bool {
    let bare = !name.contains('/') && !matches!(name, "" | "." | "..");
    (bare || name.starts_with('/')) && !name.contains('\0')
}

/// Returns the file that a name leads to, its folder without links.
fn place(name: &str) -> Option<PathBuf> {
    let file = if name.starts_with('/') { PathBuf::from(name) } else { process::find(name, &[])? };
    let folder = file.parent().unwrap_or(Path::new("/")).canonicalize().ok()?;
    let file = folder.join(file.file_name()?);
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(names: &[&str]) -> Programs {
        Programs::new(names.iter().map(|name| (*name).to_owned())).unwrap()
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_named() {
        let error = Programs::default().allow("env").unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let hint = error.next_step().unwrap();
        assert!(hint.contains("--allow-run env") && hint.contains("programs = [\"env\"]"), "{hint}");
        assert!(programs(&["env"]).allow("env").unwrap().is_absolute());
        assert!(programs(&["env"]).allow("printenv").is_err());
    }

    #[test]
    fn a_name_and_its_path_are_one_program_and_another_folder_is_not() {
        let path = programs(&["env"]).allow("env").unwrap();
        let path = path.to_str().unwrap();
        assert!(programs(&["env"]).allow(path).is_ok());
        assert!(programs(&[path]).allow("env").is_ok());
        let folder = tempfile::tempdir().unwrap();
        let fake = folder.path().join("env");
        std::fs::copy(path, &fake).unwrap();
        assert_eq!(programs(&["env"]).allow(fake.to_str().unwrap()).unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn a_link_to_the_same_binary_under_another_name_is_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let box_ = folder.path().join("box");
        std::fs::copy("/usr/bin/env", &box_).unwrap();
        for name in ["ls", "sh"] {
            std::os::unix::fs::symlink(&box_, folder.path().join(name)).unwrap();
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let allowed = programs(&[&path("ls")]);
        assert!(allowed.allow(&path("ls")).is_ok());
        assert!(allowed.allow(&path("sh")).is_err() && allowed.allow(&path("box")).is_err());
    }

    #[test]
    fn names_that_a_work_folder_decides_are_no_names() {
        for name in ["./env", "bin/env", "", "..", "a/../b"] {
            assert_eq!(programs(&["env"]).allow(name).unwrap_err().kind(), Kind::Usage, "{name}");
            assert!(Programs::new([name.to_owned()]).is_err(), "{name}");
        }
        assert_eq!(programs(&["no-such-program"]).allow("no-such-program").unwrap_err().kind(), Kind::Missing);
    }
}
