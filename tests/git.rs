//! Git for real: what is bundled comes back ref by ref, what is missing is named, what is damaged is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::process::Command;

use runner_test_support::{Ended, World, not_run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    let out = Command::new("git").args(identity).args(arguments).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A world with the repository `shop`, pushed to `remote.git`: branches, a tag, a note, and a hook that must not run.
fn shop() -> Option<World> {
    if Command::new("git").arg("--version").output().is_err() {
        not_run("there is no git");
        return None;
    }
    let world = World::new(PROGRAM).file("shop/a.txt", "one\n").file("shop/sub/ü b.txt", "two\n");
    let (shop, root) = (world.path("shop"), world.path("."));
    git(&root, &["init", "-q", "--bare", "remote.git"]);
    git(&shop, &["init", "-q"]);
    git(&shop, &["add", "."]);
    git(&shop, &["commit", "-qm", "first"]);
    git(&shop, &["tag", "-am", "release", "v1"]);
    git(&shop, &["branch", "feature/x"]);
    world.write("shop/a.txt", "one\nmore\n");
    git(&shop, &["commit", "-qam", "second"]);
    git(&shop, &["notes", "add", "-m", "reviewed"]);
    git(&shop, &["remote", "add", "origin", "../remote.git"]);
    git(&shop, &["push", "-q", "origin", "--all"]);
    Some(world)
}

fn back_up(world: &World, more: &[&str]) -> Ended {
    let mut arguments = vec!["backup_git", "--set", "repo=shop", "--set", "folder=backups", "--set", "name=shop"];
    arguments.extend(more);
    world.run(&arguments)
}

fn bundle(world: &World) -> String {
    let names = world.names("backups");
    format!("backups/{}", names.iter().find(|n| n.ends_with(".bundle")).unwrap_or_else(|| panic!("{names:?}")))
}

fn restore(world: &World, bundle: &str, into: &str, more: &[&str]) -> Ended {
    let (bundle, into) = (format!("bundle={bundle}"), format!("into={into}"));
    let mut arguments = vec!["restore_git", "--set", &bundle, "--set", &into];
    arguments.extend(more);
    world.run(&arguments)
}

fn refs(folder: &Path) -> String {
    git(folder, &["for-each-ref", "--format=%(objectname) %(refname)"])
}

#[test]
fn a_repository_comes_back_with_every_ref_and_the_branch_that_was_checked_out() {
    let Some(world) = shop() else { return };
    git(&world.path("shop"), &["checkout", "-q", "feature/x"]);
    back_up(&world, &["--dry-run"]).expect(0).told("would bundle");
    assert_eq!(world.names("backups"), Vec::<String>::new());
    back_up(&world, &["--set", "committed=true", "--set", "pushed=true"]).expect(0);
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    let bundle = bundle(&world);
    restore(&world, &bundle, "back", &["--dry-run"]).expect(0).told("would make a repository");
    assert!(!world.path("back").exists());
    restore(&world, &bundle, "back", &[]).expect(0).told("the history is back");
    let (shop, back) = (world.path("shop"), world.path("back"));
    assert_eq!(refs(&back), refs(&shop));
    assert!(refs(&back).contains("refs/notes/commits") && refs(&back).contains("refs/remotes/origin/main"));
    assert_eq!(git(&back, &["symbolic-ref", "HEAD"]), "refs/heads/feature/x");
    assert_eq!(std::fs::read_to_string(back.join("a.txt")).unwrap(), "one\n");
    assert_eq!(git(&back, &["status", "--porcelain"]), "");
    restore(&world, &bundle, "back", &[]).expect(3).told("it is not empty");
    // Any git can clone it, too.
    git(&world.path("."), &["clone", "-q", &bundle, "plain"]);
}

#[test]
fn a_detached_head_comes_back_as_it_was() {
    let Some(world) = shop() else { return };
    let first = git(&world.path("shop"), &["rev-parse", "v1^{commit}"]);
    git(&world.path("shop"), &["checkout", "-q", &first]);
    back_up(&world, &[]).expect(0);
    restore(&world, &bundle(&world), "back", &[]).expect(0);
    assert_eq!(git(&world.path("back"), &["rev-parse", "HEAD"]), first);
    assert_eq!(refs(&world.path("back")), refs(&world.path("shop")));
}

#[test]
fn uncommitted_and_unpushed_work_is_named_and_fails_when_asked() {
    let Some(world) = shop() else { return };
    world.write("shop/new file.txt", "x");
    world.write("shop/a.txt", "changed");
    back_up(&world, &[]).expect(0).told("2 files not committed").told("new file.txt");
    back_up(&world, &["--set", "name=again", "--set", "committed=true"]).expect(1).told("everything is committed");
    git(&world.path("shop"), &["add", "."]);
    git(&world.path("shop"), &["commit", "-qm", "third"]);
    back_up(&world, &["--set", "name=third", "--set", "committed=true"])
        .expect(0)
        .told("1 commit of main on no remote");
    back_up(&world, &["--set", "name=fourth", "--set", "pushed=true"]).expect(1).told("everything is pushed");
}

#[test]
fn looking_at_a_repository_runs_nothing_of_it_and_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let Some(world) = shop() else { return };
    let trap = world.path("trap.sh");
    std::fs::write(&trap, format!("#!/bin/sh\ntouch {}\n", world.path("sprung").display())).unwrap();
    std::fs::set_permissions(&trap, std::fs::Permissions::from_mode(0o755)).unwrap();
    git(&world.path("shop"), &["config", "core.fsmonitor", trap.to_str().unwrap()]);
    std::fs::copy(&trap, world.path("shop/.git/hooks/post-checkout")).unwrap();
    std::fs::copy(&trap, world.path("shop/.git/hooks/reference-transaction")).unwrap();
    let index = std::fs::read(world.path("shop/.git/index")).unwrap();
    back_up(&world, &[]).expect(0);
    assert!(!world.path("sprung").exists());
    assert!(std::fs::read(world.path("shop/.git/index")).unwrap() == index);
}

#[test]
fn a_damaged_a_cut_and_a_shallow_one_are_refused() {
    let Some(world) = shop() else { return };
    back_up(&world, &[]).expect(0);
    let bundle = bundle(&world);
    let whole = std::fs::read(world.path(&bundle)).unwrap();
    let mut bytes = whole.clone();
    let near_the_end = bytes.len() - 40;
    bytes[near_the_end] ^= 1;
    std::fs::write(world.path(&bundle), &bytes).unwrap();
    restore(&world, &bundle, "back", &[]).expect(2).told("is not the file that its checksum speaks of");
    // Without lists beside it, git itself finds the damage.
    std::fs::write(world.path("bare.bundle"), &bytes).unwrap();
    restore(&world, "bare.bundle", "back", &[]).expect(2);
    std::fs::write(world.path("cut.bundle"), &whole[..whole.len() / 2]).unwrap();
    restore(&world, "cut.bundle", "back", &[]).expect(2);
    assert!(!world.path("back").exists());
    assert_eq!(world.names(".").into_iter().filter(|n| n.starts_with(".partial")).count(), 0);

    // A bundle that needs commits from elsewhere is no backup.
    git(&world.path("shop"), &["bundle", "create", "-q", "../thin.bundle", "feature/x..main"]);
    restore(&world, "thin.bundle", "back", &[]).expect(2).told("is not a whole bundle");
    let url = format!("file://{}", world.path("remote.git").display());
    git(&world.path("."), &["clone", "-q", "--depth=1", &url, "shallow"]);
    world.run(&["backup_git", "--set", "repo=shallow"]).expect(3).told("its history is cut");
    world.run(&["backup_git", "--set", "repo=backups"]).expect(2).told("is no git repository");
    git(&world.path("."), &["init", "-q", "void"]);
    world.run(&["backup_git", "--set", "repo=void"]).expect(2).told("could not bundle");
    assert!(world.names("backups/git").is_empty());
}
