//! Real files, changed while somebody waits for it.

use std::fs;

use tempfile::TempDir;

use super::*;

/// How long a change may take to be seen.
const SEEN: Duration = Duration::from_secs(20);

struct Desk {
    folder: TempDir,
    watcher: Watcher,
}

impl Desk {
    /// A folder with `drill.rhai`, watched together with files that are not there.
    fn new(others: &[&str], polling: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "drill.rhai", "one");
        let files = std::iter::once("drill.rhai").chain(others.iter().copied());
        let files: Vec<_> = files.map(|name| Used::from(folder.path().join(name).as_path())).collect();
        Self { watcher: Watcher::new(files, polling), folder }
    }

    /// Waits first, acts then, and returns the names of the files that are seen to have changed by that.
    async fn after(&mut self, act: impl FnOnce(&Path)) -> Vec<String> {
        let stop = CancellationToken::new();
        let folder = self.folder.path().canonicalize().unwrap();
        let change = self.watcher.changed(&stop);
        tokio::pin!(change);
        let early = tokio::time::timeout(2 * QUIET, &mut change).await;
        assert!(early.is_err(), "{early:?} before anything was done");
        act(&folder);
        let changed = tokio::time::timeout(SEEN, change).await.expect("the change is seen").expect("nobody stopped");
        changed.iter().map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect()
    }

    /// Shows that `act` is no change: one that is made after it is the only one that is seen.
    async fn no_change_after(&mut self, act: impl FnOnce(&Path), then: &str) {
        act(self.folder.path());
        assert_eq!(self.after(|folder| write(folder, then, "something else")).await, [then]);
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[tokio::test]
async fn a_write_in_place_is_seen_by_events_and_by_polling() {
    for polling in [false, true] {
        let mut desk = Desk::new(&[], polling);
        assert_eq!(desk.watcher.events.is_none(), polling);
        for text in ["two", "three"] {
            assert_eq!(desk.after(|folder| write(folder, "drill.rhai", text)).await, ["drill.rhai"]);
        }
    }
}

#[tokio::test]
async fn an_editor_that_replaces_the_file_is_seen_every_time() {
    let mut desk = Desk::new(&[], false);
    for text in ["two", "three", "four"] {
        let save = |folder: &Path| {
            write(folder, ".drill.rhai.swp", text);
            fs::rename(folder.join("drill.rhai"), folder.join("drill.rhai~")).unwrap();
            fs::rename(folder.join(".drill.rhai.swp"), folder.join("drill.rhai")).unwrap();
        };
        assert_eq!(desk.after(save).await, ["drill.rhai"], "{text}");
    }
}

#[tokio::test]
async fn a_file_that_vanishes_counts_when_it_is_back_with_another_content() {
    let mut desk = Desk::new(&["lib.rhai", "other.rhai"], false);
    let remove = |folder: &Path| fs::remove_file(folder.join("drill.rhai")).unwrap();
    desk.no_change_after(remove, "lib.rhai").await;
    desk.no_change_after(|folder| write(folder, "drill.rhai", "one"), "other.rhai").await;
    remove(desk.folder.path());
    assert_eq!(desk.after(|folder| write(folder, "drill.rhai", "two")).await, ["drill.rhai"]);
}

#[tokio::test]
async fn a_save_without_a_change_is_none() {
    for polling in [false, true] {
        let mut desk = Desk::new(&["lib.rhai"], polling);
        let saves = |folder: &Path| {
            write(folder, "drill.rhai", "one");
            write(folder, "unrelated.log", "noise");
        };
        desk.no_change_after(saves, "lib.rhai").await;
    }
}

#[tokio::test]
async fn two_quick_saves_are_one_change() {
    let mut desk = Desk::new(&["lib.rhai"], false);
    let saves = |folder: &Path| {
        write(folder, "drill.rhai", "two");
        write(folder, "drill.rhai", "three");
    };
    assert_eq!(desk.after(saves).await, ["drill.rhai"]);
    desk.no_change_after(|_| {}, "lib.rhai").await;
}

#[tokio::test]
async fn an_import_that_is_missing_is_seen_when_it_appears() {
    let mut desk = Desk::new(&["missing.rhai", "lib/pg.rhai"], false);
    assert_eq!(desk.after(|folder| write(folder, "missing.rhai", "x")).await, ["missing.rhai"]);
    let with_folder = |folder: &Path| {
        fs::create_dir(folder.join("lib")).unwrap();
        write(folder, "lib/pg.rhai", "x");
    };
    assert_eq!(desk.after(with_folder).await, ["lib/pg.rhai"], "even its folder was missing");
    assert_eq!(desk.after(|folder| write(folder, "lib/pg.rhai", "y")).await, ["lib/pg.rhai"]);
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_watched_again() {
    let mut desk = Desk::new(&["lib/pg.rhai"], false);
    fs::create_dir(desk.folder.path().join("lib")).unwrap();
    for text in ["x", "y", "z"] {
        let replace = |folder: &Path| {
            fs::create_dir(folder.join("new")).unwrap();
            write(folder, "new/pg.rhai", text);
            fs::remove_dir_all(folder.join("old")).ok();
            fs::rename(folder.join("lib"), folder.join("old")).unwrap();
            fs::rename(folder.join("new"), folder.join("lib")).unwrap();
        };
        assert_eq!(desk.after(replace).await, ["lib/pg.rhai"]);
        let more = text.repeat(2);
        let seen = desk.after(|folder| write(folder, "lib/pg.rhai", &more)).await;
        assert_eq!(seen, ["lib/pg.rhai"], "events come from the new folder");
    }
}

#[tokio::test]
async fn a_change_behind_a_link_is_seen() {
    let mut desk = Desk::new(&["link.rhai"], false);
    let link = |folder: &Path| {
        fs::create_dir(folder.join("far")).unwrap();
        write(folder, "far/real.rhai", "x");
        std::os::unix::fs::symlink(folder.join("far/real.rhai"), folder.join("link.rhai")).unwrap();
    };
    assert_eq!(desk.after(link).await, ["link.rhai"]);
    assert_eq!(desk.after(|folder| write(folder, "far/real.rhai", "y")).await, ["link.rhai"]);
}

#[tokio::test]
async fn a_change_during_the_run_is_seen_after_it() {
    let mut desk = Desk::new(&[], false);
    let [drill, lib] = ["drill.rhai", "lib.rhai"].map(|name| desk.folder.path().join(name));
    write(desk.folder.path(), "lib.rhai", "changed after it was compiled");
    write(desk.folder.path(), "drill.rhai", "two");
    let used = Used { path: lib.clone(), sha256: Some("that of what was compiled".into()) };
    desk.watcher.set([Used::from(drill.as_path()), used]);
    let changed = tokio::time::timeout(SEEN, desk.watcher.changed(&CancellationToken::new())).await.unwrap();
    assert_eq!(changed, Some(vec![drill, lib]));
}

#[tokio::test]
async fn watching_ends_when_it_is_told_to() {
    let mut desk = Desk::new(&[], false);
    let stop = CancellationToken::new();
    let (changed, ()) = tokio::join!(desk.watcher.changed(&stop), async { stop.cancel() });
    assert_eq!(changed, None);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_the_script_does_not_hang() {
    let mut desk = Desk::new(&["lib.rhai"], false);
    let pipe = |folder: &Path| {
        fs::remove_file(folder.join("drill.rhai")).unwrap();
        nix::unistd::mkfifo(&folder.join("drill.rhai"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    };
    desk.no_change_after(pipe, "lib.rhai").await;
}
