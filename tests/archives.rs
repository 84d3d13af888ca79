//! Archives: what goes in comes out, what was changed is seen, and a hostile archive never leaves its folder.

#![allow(clippy::unwrap_used)] // helpers of tests stop at the first surprise, too

#[path = "fixtures/hostile_tars.rs"]
mod hostile_tars;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hostile_tars::{Tar, attacks, gzip};
use runner::error::{Error, Kind, Result};
use runner::files::archive::{Archived, Wanted, archive};
use runner::files::extract::{Extracted, Limits, extract};
use runner::files::glob::Glob;
use runner::progress::Progress;
use tokio_util::sync::CancellationToken;

fn pack(folder: &Path, to: &Path) -> Result<Archived> {
    archive(folder, to, &Wanted::default(), &Progress::default(), &CancellationToken::new())
}

fn unpack(archive: &Path, into: &Path) -> Result<Extracted> {
    unpack_with(archive, into, &Limits::default())
}

fn unpack_with(archive: &Path, into: &Path, limits: &Limits) -> Result<Extracted> {
    extract(archive, into, limits, &Progress::default(), &CancellationToken::new())
}

/// A folder with one of everything that an archive keeps.
fn rich_folder(root: &Path) -> PathBuf {
    let folder = root.join("source");
    let deep = folder.join(format!("sub/{}", "long-name-".repeat(15))).join("d".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("a.txt"), "hello\n").unwrap();
    fs::write(folder.join("grün ☂\nline"), "odd name").unwrap();
    fs::write(deep.join("model.bin"), (0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(folder.join("empty"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::hard_link(folder.join("a.txt"), folder.join("z-same.txt")).unwrap();
    symlink("../a.txt", folder.join("sub/link")).unwrap();
    symlink("x/".repeat(80), folder.join("long-dangling")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    fs::File::open(folder.join("a.txt")).unwrap().set_modified(old).unwrap();
    folder
}

/// Every path with all that should survive.
fn picture(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut stack = vec![folder.to_owned()];
    while let Some(path) = stack.pop() {
        let facts = path.symlink_metadata().unwrap();
        let kind = facts.file_type();
        let content = match () {
            () if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            () if kind.is_file() => runner::files::digest::Digest::of(&fs::read(&path).unwrap()).to_string(),
            () => "folder".into(),
        };
        let mtime = if kind.is_symlink() { 0 } else { facts.mtime() };
        let mode = facts.mode();
        if path != folder {
            lines.push(format!("{:?} {mode:o} {mtime} {content}", path.strip_prefix(folder).unwrap()));
        }
        if kind.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_goes_in_comes_out() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    let packed = root.path().join("b/x.tar.gz");
    let made = pack(&folder, &packed).unwrap();
    assert_eq!(made.cautions, Vec::<String>::new());
    assert_eq!(names(packed.parent().unwrap()), ["x.tar.gz", "x.tar.gz.manifest.json", "x.tar.gz.sha256"]);
    let copy = root.path().join("copy");
    let got = unpack(&packed, &copy).unwrap();
    assert!(got.verified);
    assert_eq!((got.entries, got.bytes), (made.entries, made.raw_size));
    assert_eq!(picture(&copy), picture(&folder));
    let ino = |name: &str| copy.join(name).metadata().unwrap().ino();
    assert_eq!(ino("a.txt"), ino("z-same.txt"));
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn gnu_tar_reads_our_archive_and_we_read_gnu_tars() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    let packed = root.path().join("x.tar.gz");
    pack(&folder, &packed).unwrap();
    let theirs = root.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let tar = |args: &[&str], path: &Path| {
        let status = Command::new("tar").args(args).arg(path).status().unwrap();
        assert!(status.success(), "tar {args:?}");
    };
    tar(&["-xpC", theirs.to_str().unwrap(), "-zf"], &packed);
    assert_eq!(picture(&theirs), picture(&folder));
    for format in ["gnu", "pax", "ustar"] {
        let flat = root.path().join("flat");
        fs::create_dir(&flat).unwrap();
        fs::write(flat.join("ä b"), format).unwrap();
        symlink("ä b", flat.join("l")).unwrap();
        let archive = root.path().join(format!("{format}.tar"));
        let args = ["-C", flat.to_str().unwrap(), &format!("--format={format}"), "-c", ".", "-f"];
        tar(&args, &archive);
        let copy = root.path().join(format);
        let got = unpack(&archive, &copy).unwrap();
        assert!(!got.verified, "there is no inventory beside it");
        assert_eq!(picture(&copy), picture(&flat));
        fs::remove_dir_all(&flat).unwrap();
    }
}

#[test]
fn equal_folders_make_equal_archives() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    let first = pack(&folder, &root.path().join("1.tar.gz")).unwrap();
    let second = pack(&folder, &root.path().join("2.tar.gz")).unwrap();
    assert_eq!(first.sha256, second.sha256);
}

#[test]
fn what_is_excluded_stays_out() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    for name in ["keep.txt", "x.log", "sub/.y.log", "cache/big", "sub/cache/z"] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), name).unwrap();
    }
    let exclude = ["*.log", "cache"].map(|p| Glob::new(p).unwrap().with_hidden()).to_vec();
    let wanted = Wanted { exclude, ..Wanted::default() };
    let packed = root.path().join("x.tar.gz");
    let made = archive(&folder, &packed, &wanted, &Progress::default(), &CancellationToken::new()).unwrap();
    assert_eq!(made.entries, 2, "keep.txt and the empty sub");
}

#[test]
fn named_parts_and_nothing_else_go_in_also_beside_the_archive() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    fs::write(folder.join("secret.key"), "not listed").unwrap();
    let parts = ["a.txt", "sub", "run.sh"].map(str::to_owned).to_vec();
    let wanted = Wanted { parts, ..Wanted::default() };
    let packed = folder.join("x.tar.gz");
    archive(&folder, &packed, &wanted, &Progress::default(), &CancellationToken::new()).unwrap();
    let back = root.path().join("back");
    assert!(unpack(&packed, &back).unwrap().verified);
    assert_eq!(names(&back), ["a.txt", "run.sh", "sub"]);
    assert_eq!(picture(&back.join("sub")), picture(&folder.join("sub")));
    assert!(Command::new("gzip").arg("-t").arg(&packed).status().unwrap().success());

    let own = Wanted { parts: vec!["sub".into()], ..Wanted::default() };
    let inside = folder.join("sub/y.tar.gz");
    let refused = archive(&folder, &inside, &own, &Progress::default(), &CancellationToken::new()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused);
}

#[test]
fn what_is_packed_already_is_stored_and_links_cost_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    let mut noise = Vec::new();
    fs::File::open("/dev/urandom").unwrap().take(8 << 20).read_to_end(&mut noise).unwrap();
    fs::write(folder.join("model.pkl"), &noise).unwrap();
    fs::hard_link(folder.join("model.pkl"), folder.join("newest.pkl")).unwrap();
    let once = pack(&folder, &root.path().join("once.tar.gz")).unwrap();
    assert!(once.size < 8_400_000, "{once:?}");
    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::rename(&once.path, full.join("models.tar.gz")).unwrap();
    let twice = pack(&full, &root.path().join("twice.tar.gz")).unwrap();
    assert!(twice.size < once.size + once.size / 1000 + 1024, "{} of {}", twice.size, once.size);
    let back = root.path().join("back");
    assert_eq!(unpack(&twice.path, &back).unwrap().bytes, once.size);
    let inner = unpack(&back.join("models.tar.gz"), &root.path().join("inner")).unwrap();
    assert_eq!(fs::read(inner.folder.join("newest.pkl")).unwrap(), noise);
}

#[test]
fn a_disk_that_fills_up_is_told_as_it_is_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let disk = root.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("not run: a small disk cannot be mounted here");
        return;
    }
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    let mut noise = vec![0; 32 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(folder.join("large.bin"), noise).unwrap();
    let failed = pack(&folder, &disk.join("x.tar.gz"));
    let left = names(&disk);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    let error = failed.unwrap_err();
    assert!(error.causes().iter().any(|cause| cause.contains("No space left on device")), "{error:?}");
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn holes_stay_holes_and_take_no_room_in_the_archive() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    let disk = folder.join("disk.img");
    let mut noise = vec![0; 1 << 20];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    let file = fs::File::create(&disk).unwrap();
    file.set_len(256 << 20).unwrap();
    file.write_all_at(&noise, 100_000_000).unwrap();
    let made = pack(&folder, &root.path().join("s.tar.gz")).unwrap();
    assert!(made.size < 4 << 20, "{made:?}");
    let back = root.path().join("back");
    unpack(&made.path, &back).unwrap();
    assert_eq!(picture(&back), picture(&folder));
    let copy = root.path().join("copy.img");
    runner::files::listing::copy(&disk, &copy, &Progress::default(), &CancellationToken::new()).unwrap();
    for path in [back.join("disk.img"), copy] {
        let facts = path.metadata().unwrap();
        assert_eq!(facts.len(), 256 << 20);
        assert!(facts.blocks() * 512 < 4 << 20, "{} takes {} bytes", path.display(), facts.blocks() * 512);
    }
}

#[test]
fn a_file_that_is_written_to_is_refused_and_nothing_is_left() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("app.log");
    fs::write(&log, vec![b'x'; 64 << 20]).unwrap();
    let progress = Progress::default();
    let packed = root.path().join("x.tar.gz");
    let refused = std::thread::scope(|scope| {
        let packing =
            scope.spawn(|| archive(&folder, &packed, &Wanted::default(), &progress, &CancellationToken::new()));
        // Once the first bytes were read the file is open and its size is promised.
        while progress.done() == 0 && !packing.is_finished() {
            std::thread::yield_now();
        }
        fs::File::options().append(true).open(&log).unwrap().set_len(100).unwrap();
        packing.join().unwrap().unwrap_err()
    });
    assert!(refused.to_string().contains("app.log was written to while it was archived"), "{refused}");
    assert_eq!(names(root.path()), ["s"]);
}

#[test]
fn an_archive_inside_its_own_folder_and_a_cancelled_one_are_not_made() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    assert_eq!(pack(&folder, &folder.join("new/x.tar.gz")).unwrap_err().kind(), Kind::Refused);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stopped = archive(&folder, &root.path().join("x.tar.gz"), &Wanted::default(), &Progress::default(), &cancel);
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(names(root.path()), ["source"]);
}

#[test]
fn what_extract_will_refuse_is_said_when_it_is_packed() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    symlink("/usr/bin/python3", folder.join("python")).unwrap();
    fs::write(folder.join("Readme"), "1").unwrap();
    fs::write(folder.join("README"), "2").unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let packed = root.path().join("x.tar.gz");
    let made = pack(&folder, &packed).unwrap();
    assert_eq!(made.cautions.len(), 3, "{:?}", made.cautions);
    assert_eq!(unpack(&packed, &root.path().join("1")).unwrap_err().kind(), Kind::Refused);
    let trusting = Limits { outward_links: true, twins: true, ..Limits::default() };
    assert_eq!(unpack_with(&packed, &root.path().join("2"), &trusting).unwrap().entries, 3);
}

#[test]
fn every_attack_is_refused_and_touches_nothing() {
    let root = tempfile::tempdir().unwrap();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o751)).unwrap();
    let work = root.path().join("work");
    fs::create_dir(&work).unwrap();
    for (attack, says, bytes) in attacks(&outside) {
        let archive = work.join("a.tar");
        fs::write(&archive, bytes).unwrap();
        let error = unpack(&archive, &work.join("into")).expect_err(attack);
        assert!(error.to_string().contains(says), "{attack}: {error}");
        assert!(matches!(error.kind(), Kind::Refused | Kind::Damaged), "{attack}: {error:?}");
        assert_eq!(names(&work), ["a.tar"], "{attack} left something");
        assert_eq!(names(&outside), Vec::<String>::new(), "{attack}");
        assert_eq!(outside.metadata().unwrap().permissions().mode() & 0o777, 0o751, "{attack}");
    }
}

#[test]
fn special_bits_go_and_names_are_escaped() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("a.tar");
    let tar =
        Tar::default().entry("suid", tar::EntryType::Regular, "", 0o6755, b"x").file("dump.sql\n\u{1b}[2Jok", b"y");
    fs::write(&archive, tar.end()).unwrap();
    unpack(&archive, &root.path().join("1")).unwrap();
    assert_eq!(root.path().join("1/suid").metadata().unwrap().mode() & 0o7777, 0o755);
    let twice = Tar::default().file("\u{1b}[2J", b"").file("\u{1b}[2J", b"").end();
    fs::write(&archive, twice).unwrap();
    let error = unpack(&archive, &root.path().join("2")).unwrap_err().to_string();
    assert!(error.contains(r"\u{1b}[2J") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn limits_are_the_callers_and_a_full_target_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let archive = root.path().join("a.tar.gz");
    fs::write(&archive, gzip(&Tar::default().file("a", &[1; 5000]).file("b", b"").end())).unwrap();
    let into = root.path().join("into");
    let refused = |limits: Limits| unpack_with(&archive, &into, &limits).unwrap_err().to_string();
    assert!(refused(Limits { entries: 1, ..Limits::default() }).contains("more entries than the limit"));
    assert!(refused(Limits { bytes: 4000, ..Limits::default() }).contains("more than 4000 bytes"));
    fs::create_dir(&into).unwrap();
    assert_eq!(unpack(&archive, &into).unwrap().entries, 2, "an empty folder is fine");
    assert!(unpack(&archive, &into).unwrap_err().to_string().contains("it is not empty"));
    symlink(root.path().join("elsewhere"), root.path().join("l")).unwrap();
    assert!(unpack(&archive, &root.path().join("l")).unwrap_err().to_string().contains("symbolic link"));
}

/// Packs a folder, lets `change` loose on the files and returns why the archive is refused.
fn refusal_after(change: impl Fn(&Path)) -> Error {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a"), "one").unwrap();
    fs::write(folder.join("b"), "two").unwrap();
    let packed = root.path().join("x.tar.gz");
    pack(&folder, &packed).unwrap();
    change(&packed);
    let into = root.path().join("into");
    let error = unpack(&packed, &into).unwrap_err();
    assert!(!into.exists());
    error
}

#[test]
fn an_archive_that_is_not_the_one_of_its_lists_is_refused() {
    let sidecar = |path: &Path| PathBuf::from(format!("{}.sha256", path.display()));
    let other = |files: &[(&str, &str)]| {
        gzip(&files.iter().fold(Tar::default(), |tar, (name, text)| tar.file(name, text.as_bytes())).end())
    };
    let flipped = refusal_after(|packed| {
        let mut bytes = fs::read(packed).unwrap();
        let at = bytes.len() - 6;
        bytes[at] ^= 1;
        fs::write(packed, bytes).unwrap();
    });
    assert_eq!(flipped.kind(), Kind::Damaged);
    let swapped = refusal_after(|packed| fs::write(packed, other(&[("a", "one"), ("b", "two")])).unwrap());
    assert!(swapped.to_string().contains("is not the file that its checksum speaks of"), "{swapped}");
    for (files, says) in [
        (&[("a", "one"), ("b", "twO")][..], "b has another content"),
        (&[("a", "one"), ("b", "two"), ("c", "x")], "c is in the archive and not in its inventory"),
    ] {
        let changed = refusal_after(|packed| {
            fs::write(packed, other(files)).unwrap();
            fs::remove_file(sidecar(packed)).unwrap();
        });
        assert!(changed.to_string().contains(says), "{changed}");
    }
    let lacking = refusal_after(|packed| {
        let bytes = other(&[("a", "one")]);
        let list = PathBuf::from(format!("{}.manifest.json", packed.display()));
        let old = runner::files::digest::Digest::of(&fs::read(packed).unwrap()).to_string();
        let new = runner::files::digest::Digest::of(&bytes).to_string();
        fs::write(&list, fs::read_to_string(&list).unwrap().replace(&old, &new)).unwrap();
        fs::write(packed, bytes).unwrap();
        fs::remove_file(sidecar(packed)).unwrap();
    });
    assert!(lacking.to_string().contains("entries are not in the archive: the first is b"), "{lacking}");
}

/// A small generator of numbers: a failure can be run again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// Sets the sum of the header that `at` lies in, so that the change gets past it.
fn correct_sum(tar: &mut [u8], at: usize) {
    let block = &mut tar[at / 512 * 512..][..512];
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Every path below a folder, links not followed.
fn paths(folder: &Path) -> Vec<String> {
    let tidy = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let mut found: Vec<_> = picture(folder).iter().map(|line| tidy(line)).collect();
    found.sort();
    found
}

#[test]
fn hundreds_of_broken_archives_escape_nowhere_and_read_as_gnu_tar_reads_them() {
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join("a/b/work");
    fs::create_dir_all(&work).unwrap();
    let whole = Tar::default()
        .entry("dir/", tar::EntryType::Directory, "", 0o755, b"")
        .file("dir/one", b"first")
        .pax(&[("path", "dir/a-longer-name-from-a-record"), ("mtime", "1700000000.5")])
        .file("short", b"second")
        .link("dir/link", "one")
        .entry("hard", tar::EntryType::Link, "dir/one", 0o644, b"")
        .file("last", &[b'x'; 700])
        .end();
    let mut numbers = Numbers(7);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..=numbers.below(3) {
            // Mostly where headers have their fields.
            let at = numbers.below(bytes.len() - 1024) / 512 * 512
                + [numbers.below(512), 100 + numbers.below(60)][numbers.below(2)];
            bytes[at] = [0, b'0', b'7', b'/', b'.', b'L', 0x80, numbers.below(256) as u8][numbers.below(8)];
            if numbers.below(4) > 0 {
                correct_sum(&mut bytes, at);
            }
        }
        let archive = work.join("x.tar");
        fs::write(&archive, &bytes).unwrap();
        let into = work.join("into");
        match unpack(&archive, &into) {
            Err(error) => {
                assert!(
                    matches!(error.kind(), Kind::Refused | Kind::Damaged | Kind::Missing | Kind::Io),
                    "{round}: {error:?}"
                );
                refused += 1;
            }
            Ok(_) => {
                taken += 1;
                let list = Command::new("tar").args(["--quoting-style=escape", "-tf"]).arg(&archive).output().unwrap();
                let names = String::from_utf8_lossy(&list.stdout).into_owned();
                let ours = paths(&into);
                for name in names
                    .lines()
                    .map(|n| n.trim_start_matches("./").trim_end_matches('/'))
                    .filter(|n| n.is_ascii() && !n.contains(['\\', '"']))
                {
                    assert!(
                        name.is_empty() || ours.iter().any(|o| o == name),
                        "{round}: tar sees {name}, we see {ours:?}"
                    );
                }
                fs::remove_dir_all(&into).unwrap();
            }
        }
        assert_eq!(names(&work), ["x.tar"], "{round}");
    }
    assert_eq!(names(&root.path().join("a")), ["b"]);
    assert_eq!(names(&root.path().join("a/b")), ["work"]);
    assert!(taken > 20 && refused > 80, "the changes must not all be of one kind: {taken} taken, {refused} refused");
}

#[test]
fn an_extraction_that_is_cancelled_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = rich_folder(root.path());
    let packed = root.path().join("x.tar.gz");
    pack(&folder, &packed).unwrap();
    let before = names(root.path());
    let (cancel, progress) = (CancellationToken::new(), Progress::default());
    let stopped = std::thread::scope(|scope| {
        let extracting =
            scope.spawn(|| extract(&packed, &root.path().join("into"), &Limits::default(), &progress, &cancel));
        while progress.done() == 0 && !extracting.is_finished() {
            std::thread::yield_now();
        }
        cancel.cancel();
        extracting.join().unwrap()
    });
    assert_eq!(stopped.unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(names(root.path()), before);
}
