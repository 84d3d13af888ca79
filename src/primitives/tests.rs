//! Verbs in whole runs of small scripts: what each promises, and that it can break.

use std::path::Path;
use std::time::Duration;

use crate::run::{Options, Why};
use crate::test_world::{Ended, World};

fn dry(world: &World) -> Ended {
    world.run_with(Options { dry_run: true, ..Options::default() }, |_| {})
}

/// Returns every path below a folder with its size, but for the runs' own evidence.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.ends_with("state") {
            continue;
        }
        found.push((path.display().to_string(), path.metadata().unwrap().len()));
        if path.is_dir() {
            found.extend(listing(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn one_flipped_byte_makes_a_set_of_files_not_intact() {
    let script = r#"
        let set = "$TEST/set";
        write_text(set + "/a.csv", "12345");
        write_text(set + "/b.csv", "67890");
        let list = write_checksums(set).path;
        check("before", verify_checksums(list).intact);
        write_text(set + "/b.csv", "67891");
        write_text(set + "/c.csv", "new");
        remove(set + "/a.csv");
        let found = verify_checksums(list);
        check("after", !found.intact);
        log(found.summary);
        log(`${found.changed} ${found.missing} ${found.extra}`);
        check("every file is as it was", found.intact, found.summary);
    "#;
    let ended = World::with(script).run();
    assert_eq!(ended.verdict.exit_code, 1);
    let said = ["0 of 2 files are unchanged, 1 missing, 1 changed, 1 not listed", r#"["b.csv"] ["a.csv"] ["c.csv"]"#];
    assert_eq!(ended.said(), said);
    let evidence = ended.evidence("verify_checksums");
    assert_eq!((evidence[0]["intact"].as_bool(), evidence[1]["intact"].as_bool()), (Some(true), Some(false)));
}

#[test]
fn a_damaged_archive_is_not_extracted() {
    let script = r#"
        write_text("$TEST/in/a.csv", "12345");
        archive("$TEST/in", "$TEST/in.tar.gz");
    "#;
    let world = World::with(script);
    assert_eq!(world.run().verdict.exit_code, 0);
    let path = world.folder.path().join("in.tar.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let world = world.file("main.rhai", "extract(\"$TEST/in.tar.gz\", \"$TEST/out\");");
    let ended = world.run();
    assert_eq!((ended.verdict.exit_code, ended.failure().kind.as_str()), (2, "damaged"));
    assert!(!world.folder.path().join("out").exists());
}

/// Every verb that writes, with what its announcement says.
const WRITING: &str = r#"
    write_text("$TEST/new/a.txt", "x");
    write_text("$TEST/old.txt", "x");
    copy("$TEST/old.txt", "$TEST/copy.txt");
    archive("$TEST/set", "$TEST/set.tar.gz", #{ exclude: ["*.log"] });
    extract("$TEST/set.tar.gz", "$TEST/out", #{ bytes: "1MB" });
    write_checksums("$TEST/set");
    remove("$TEST/set", #{ whole: true });
    let work = temp_dir("scratch");
    write_text(`${work}/b.txt`, "x");
"#;

#[test]
fn a_dry_run_announces_and_writes_nothing() {
    let world = World::with(WRITING).file("old.txt", "old").file("set/a.csv", "1");
    let before = listing(world.folder.path());
    let ended = dry(&world);
    assert_eq!(ended.verdict.exit_code, 0, "{:?}", ended.moments);
    assert_eq!(listing(world.folder.path()), before);
    let folder = world.folder.path().display().to_string();
    let announced: Vec<_> = ended.announced().iter().map(|a| a.replace(&folder, "$TEST")).collect();
    assert_eq!(
        announced,
        [
            "write_text: would write a text to $TEST/new/a.txt",
            "write_text: would write a text to $TEST/old.txt",
            "copy: would copy $TEST/old.txt to $TEST/copy.txt",
            "archive: would pack $TEST/set into $TEST/set.tar.gz",
            "extract: would unpack $TEST/set.tar.gz into $TEST/out",
            "write_checksums: would write checksums.txt into $TEST/set",
            "remove: would remove $TEST/set with everything in it",
            "temp_dir: would make a private temporary folder",
            "write_text: would write a text to <known after temp_dir>/b.txt",
        ]
    );
}

#[test]
fn a_dry_run_does_not_read_what_only_a_real_run_would_find() {
    let script = r#"
        check("what is there is read", file_size("$TEST/old.txt") == 3);
        write_text("$TEST/old.txt", "longer");
        check_eq("it would be another by now", file_size("$TEST/old.txt"), 6);
        write_text("$TEST/new/a.csv", "x");
        check_eq("a new one", read_text("$TEST/new/a.csv"), "x");
        check_eq("listed", list_files("$TEST/new/**/*.csv").len(), 1);
        let made = archive("$TEST/new", "$TEST/new.tar.gz");
        check_eq("digest", checksum("$TEST/new.tar.gz"), made.sha256);
        let work = temp_dir();
        check("nothing in it", !exists(`${work}/x`));
    "#;
    let world = World::with(script).file("old.txt", "old");
    let ended = dry(&world);
    assert_eq!(ended.verdict.exit_code, 0, "{:?}", ended.moments);
    let checks = ended.announced().iter().filter(|a| a.starts_with("check: ")).count();
    assert_eq!(checks, 5, "all but the first are announced: {:?}", ended.announced());
    assert_eq!(world.run().verdict.exit_code, 0, "and a real run keeps what was announced");
}

#[test]
fn a_dry_run_refuses_what_a_real_run_would_refuse() {
    for (script, kind) in [
        ("copy(\"$TEST/old.txt\", \"$TEST/main.rhai\");", "refused"),
        ("copy(\"$TEST/none.txt\", \"$TEST/new.txt\");", "missing"),
        ("archive(\"$TEST/set\", \"$TEST/old.txt\");", "refused"),
        ("extract(\"$TEST/old.txt\", \"$TEST/set\");", "refused"),
        ("write_checksums(\"$TEST/old.txt\");", "usage"),
        ("remove(\"/\", #{ whole: true });", "refused"),
        ("temp_dir(\"../up\");", "usage"),
        ("container(#{ image: \"x\", volumes: [\"/etc:/etc\"] });", "refused"),
    ] {
        let world = World::with(script).file("old.txt", "old").file("set/a.csv", "1");
        let (planned, real) = (dry(&world), world.run());
        assert_eq!(planned.failure().kind, kind, "{script}");
        assert_eq!(planned.failure().message, real.failure().message, "{script}");
    }
}

#[test]
fn an_unknown_option_is_an_error_that_knows_better() {
    for (script, message, hint) in [
        ("archive(\"a\", \"b\", #{ exlude: [] });", "archive has no option `exlude`", "exclude"),
        ("extract(\"a\", \"b\", #{ byte: 1 });", "extract has no option `byte`", "bytes"),
        ("remove(\"a\", #{ hole: true });", "remove has no option `hole`", "whole"),
        ("container(#{ image: \"x\", prots: [1] });", "container has no option `prots`", "ports"),
    ] {
        let ended = World::with(script).run();
        assert_eq!(ended.failure().message, message);
        assert_eq!(ended.failure().hint.as_deref(), Some(format!("did you mean `{hint}`?").as_str()));
    }
    let script = "write_text(\"$TEST/s/a\", \"\"); log(verify_checksums(write_checksums(\"$TEST/s\").path).intcat);";
    let ended = World::with(script).run();
    assert_eq!(ended.failure().hint.as_deref(), Some("did you mean `intact`?"), "{:?}", ended.failure());
}

#[test]
fn a_backup_is_never_overwritten() {
    let world = World::with("").file("set/a.csv", "1").file("orders.txt", "backup").file("orders.txt.sha256", "x");
    for script in [
        "write_text(\"$TEST/orders.txt\", \"x\");",
        "write_text(\"$TEST/orders.txt.sha256\", \"x\");",
        "copy(\"$TEST/set/a.csv\", \"$TEST/orders.txt\");",
        "archive(\"$TEST/set\", \"$TEST/orders.txt\");",
        "extract(\"$TEST/orders.txt\", \"$TEST/set\");",
    ] {
        let world = World::with(script).file("set/a.csv", "1").file("orders.txt", "backup");
        let world = world.file("orders.txt.sha256", "x");
        let ended = world.run();
        assert_eq!((ended.failure().kind.as_str(), ended.verdict.exit_code), ("refused", 3), "{script}");
    }
    assert_eq!(std::fs::read_to_string(world.folder.path().join("orders.txt")).unwrap(), "backup");
}

#[test]
fn a_temporary_folder_is_private_and_gone_after_the_run() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with("let d = temp_dir(\"drill\"); write_text(d + \"/a/b\", \"x\"); log(d); throw \"broken\";");
    let ended = world.run();
    let folder = Path::new(ended.said()[0]);
    assert!(folder.display().to_string().contains("-drill-"), "{}", folder.display());
    assert!(!folder.exists());
    let ended = world.run_with(Options { keep: true, ..Options::default() }, |_| {});
    let folder = Path::new(ended.said()[0]);
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let evidence = ended.evidence("temp_dir")[0];
    assert_eq!((evidence["path"].as_str(), evidence["kept"].as_bool()), (folder.to_str(), Some(true)));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_temporary_folder_is_gone_after_a_stop() {
    let script = r#"
        let d = temp_dir();
        log(d);
        write_text(d + "/in/a", "x");
        write_text("$TEST/ready", "");
        loop { write_text(d + "/in/b", "x"); remove(d + "/in/b"); archive(d + "/in", d + "/x.gz"); remove(d + "/x.gz"); }
    "#;
    let world = World::with(script);
    let ready = world.folder.path().join("ready");
    let ended = world.run_with(Options { timeout: Some(Duration::from_secs(60)), ..Options::default() }, |stop| {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !ready.exists() {
                std::thread::yield_now();
            }
            stop.stop(Why::Interrupted);
        });
    });
    assert_eq!(ended.verdict.exit_code, 130, "{:?}", ended.verdict);
    assert!(!Path::new(ended.said()[0]).exists());
}

#[test]
fn a_notice_that_is_lost_warns_and_does_not_change_the_verdict() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = format!(
        r#"
        check("rows", true);
        let url = "http://127.0.0.1:{free}/services/T000/canary-lost-notice";
        check("lost", !notify(#{{ to: url, title: "drill", text: "all is well" }}));
        check("refused", !notify(#{{ to: "http://10.0.0.1/services/canary-10", title: "drill" }}));
        check("no URL", !notify(#{{ to: "canary-no-url", title: "drill" }}));
        "#
    );
    let ended = World::with(&script).run();
    assert_eq!(ended.verdict.exit_code, 0, "{:?}", ended.moments);
    assert_eq!(ended.said().len(), 3, "each is a warning: {:?}", ended.said());
    let evidence = ended.evidence("notify");
    assert!(evidence.iter().all(|e| e["delivered"] == false), "{evidence:?}");
    assert_eq!((evidence[0]["to"].as_str(), evidence[2]["to"].as_str()), (Some("http://127.0.0.1"), None));
    assert!(evidence[1]["why"].as_str().unwrap().contains("not public"), "{evidence:?}");
    assert!(!format!("{:?}", ended.moments).contains("canary"), "{:?}", ended.moments);
    let ended = World::with("notify(#{ to: \"https://x.example\", titel: \"x\", title: \"y\" });").run();
    assert_eq!(ended.failure().hint.as_deref(), Some("did you mean `title`?"));
}

#[test]
fn a_notice_that_arrives_says_the_verdict_so_far() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut sent, mut block) = (String::new(), [0; 4096]);
        while !sent.contains("\"}") {
            let n = stream.read(&mut block).unwrap();
            sent.push_str(&String::from_utf8_lossy(&block[..n]));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        sent
    });
    let script = format!(
        "check(\"rows\", false); defer(|| log(notify(#{{ to: \"http://127.0.0.1:{port}/h\", title: \"drill\" }}))); throw \"no disk\";"
    );
    let ended = World::with(&script).run();
    assert!(serving.join().unwrap().contains("drill: could not run to its end"));
    assert_eq!((ended.verdict.exit_code, ended.said()), (2, vec!["true"]));
    assert_eq!(ended.evidence("notify")[0]["delivered"], true);
}
