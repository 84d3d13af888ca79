//! `runner verify_ml_versions` and `verify_ml_versions_basic`: the table comes back, and each check is able to fail.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use runner_test_support::{Ended, TestServer, World, docker_image, not_run, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/verify_ml_versions.rhai");
const VERSIONS: &str = include_str!("fixtures/ml_versions.sql");

const BASIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/verify_ml_versions_basic.rhai");

/// A server whose database `cti_scraper` holds 68 model versions.
async fn production() -> Option<TestServer> {
    let server = postgres().await?;
    server.create("cti_scraper", VERSIONS).await;
    Some(server)
}

fn world(server: &TestServer, database: &str) -> World {
    World::new(PROGRAM).with_env("SOURCE", &server.place(database))
}

/// Verifies with the test databases beside production, which is the quickest.
fn verify(world: &World, script: &str, more: &[&str]) -> Ended {
    let mut arguments = vec![script, "--set", "source=secret:SOURCE", "--set", "beside=true"];
    arguments.extend(more);
    world.run(&arguments)
}

/// The stock script with something else in place of a text of it.
fn fork(script: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(script).unwrap();
    for (from, to) in changes {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, to);
    }
    text
}

fn report(ended: &Ended) -> serde_json::Value {
    serde_json::from_str(&ended.stdout).unwrap()
}

type Names = BTreeSet<String>;

/// Returns the names of the checks of a report, or of a step of it, that ended so.
fn checks(report: &serde_json::Value, passed: bool, step: Option<&str>) -> Names {
    let steps = report["steps"].as_array().unwrap();
    let id = step.map(|name| steps.iter().find(|s| s["name"] == name).unwrap()["id"].clone());
    let all = report["checks"].as_array().unwrap().iter();
    all.filter(|c| c["passed"] == passed && id.as_ref().is_none_or(|id| c["step"] == *id))
        .map(|c| c["name"].as_str().unwrap().to_owned())
        .collect()
}

fn names(list: &[&str]) -> Names {
    list.iter().map(|name| (*name).to_owned()).collect()
}

async fn databases(server: &TestServer) -> Vec<String> {
    server.databases().await
}

/// What of a restored table is damaged, and the checks that see it: these and no others.
const DAMAGES: &[(&str, &[&str])] = &[
    ("select 1", &[]),
    (
        "update ml_model_versions set model_file_path = '/models/v17.bin' where version_number = 17",
        &["every model_file_path is the same"],
    ),
    (
        "update ml_model_versions set notes = 'geprüft' where version_number = 1",
        &["version 1 is the same in every column"],
    ),
    (
        "update ml_model_versions set notes = 'geprüft' where version_number = 68",
        &["the latest version (68) is the same in every column"],
    ),
    ("update ml_model_versions set notes = null where version_number = 3", &["every column has as many NULLs"]),
    (
        "update ml_model_versions set eval_confusion_matrix = '{\"fp\": 17, \"tp\": 97}' where version_number = 17",
        &["every eval_confusion_matrix holds the same document"],
    ),
    (
        "update ml_model_versions set eval_confusion_matrix = '[]' where version_number = 5",
        &[
            "every eval_confusion_matrix holds the same document",
            "as many eval_confusion_matrix are the empty document {}",
        ],
    ),
    (
        "update ml_model_versions set eval_confusion_matrix = null where version_number = 17",
        &[
            "every eval_confusion_matrix holds the same document",
            "as many versions have their documents",
            "every column has as many NULLs",
        ],
    ),
    (
        "update ml_model_versions set eval_accuracy = null where version_number = 17",
        &[
            "every eval_accuracy is the same to its last digit",
            "the average eval_accuracy is the same",
            "as many versions have metrics",
            "every column has as many NULLs",
        ],
    ),
    (
        "update ml_model_versions m set eval_accuracy = o.eval_accuracy from ml_model_versions o where (m.id, o.id) in ((16, 17), (17, 16))",
        &["every eval_accuracy is the same to its last digit"],
    ),
    (
        "update ml_model_versions set trained_at = trained_at + interval '1 us' where version_number = 17",
        &["every trained_at is the same moment"],
    ),
    (
        "update ml_model_versions set evaluated_at = evaluated_at + interval '1 h' where version_number = 17",
        &["every evaluated_at is the same moment"],
    ),
    (
        "alter table ml_model_versions drop constraint ml_model_versions_compared_with_version_fkey",
        &["the foreign keys are enforced as before"],
    ),
    (
        "update ml_model_versions set compared_with_version = 15 where version_number = 17",
        &["each comparison points at the same version"],
    ),
    (
        "update ml_model_versions set compared_with_version = null where version_number = 17",
        &[
            "as many comparisons point at a version",
            "each comparison points at the same version",
            "every column has as many NULLs",
        ],
    ),
    (
        "alter table ml_model_versions drop constraint ml_model_versions_compared_with_version_fkey; update ml_model_versions set compared_with_version = 999 where version_number = 17",
        &[
            "the foreign keys are enforced as before",
            "each comparison points at the same version",
            "no comparison points at a version that is not there",
        ],
    ),
];

/// What shifts or loses whole rows, and what must be among the checks that see it.
const LOSSES: &[(&str, &[&str])] = &[
    (
        "delete from ml_model_versions where version_number = 68",
        &["every version came back", "the latest version is the same", "the sum of version_number is the same"],
    ),
    (
        "update ml_model_versions set version_number = 0 where version_number = 1",
        &["the lowest version is the same", "the sum of version_number is the same"],
    ),
    (
        "truncate ml_model_versions",
        &["every version came back", "as many versions have metrics", "as many versions have their documents"],
    ),
];

const METRICS: [&str; 7] = [
    "eval_accuracy",
    "eval_precision_huntable",
    "eval_precision_not_huntable",
    "eval_recall_huntable",
    "eval_recall_not_huntable",
    "eval_f1_score_huntable",
    "eval_f1_score_not_huntable",
];

/// Returns every damage of a restored table, with the checks that see it and whether no others may.
fn damages() -> Vec<(String, Names, bool)> {
    let alone = DAMAGES.iter().map(|(sql, seen)| ((*sql).to_owned(), names(seen), true));
    let more = LOSSES.iter().map(|(sql, seen)| ((*sql).to_owned(), names(seen), false));
    let metrics = METRICS.iter().map(|metric| {
        let digit = format!("update ml_model_versions set {metric} = {metric} + 1e-15 where version_number = 17");
        let seen =
            [format!("every {metric} is the same to its last digit"), format!("the average {metric} is the same")];
        (digit, seen.into_iter().collect(), true)
    });
    alone.chain(more).chain(metrics).collect()
}

/// A script that damages the database in COPY, over and over, and makes the checks of phases 5 to 11 each time.
fn damaging() -> String {
    let head = r##"
        import "std/tables" as tables;
        let truth = postgres(secret("SOURCE"));
        let copy = postgres(secret("COPY"), #{ writable: true });
        let versions = read_text("versions.sql");
        let about = #{ table: "ml_model_versions", key: "version_number", path: "model_file_path", metrics: param("metrics", ["none"], "columns"),
            json: ["eval_confusion_matrix"], times: ["trained_at", "evaluated_at"], relation_table: "ml_model_versions", relation_column: "compared_with_version" };
        let look = |name, damage| step(name, || {
            execute(copy, "drop table ml_model_versions; " + versions + damage);
            tables::check_counts(truth, copy, about);
            tables::check_values(truth, copy, about);
            tables::check_times(truth, copy, about);
            tables::check_relations(truth, copy, about);
            tables::check_edges(truth, copy, about);
            tables::check_statistics(truth, copy, about);
        });
    "##;
    let calls = damages().into_iter().map(|(sql, ..)| {
        let quoted = serde_json::to_string(&sql).unwrap();
        format!("look.call({quoted}, {quoted});\n")
    });
    calls.fold(head.to_owned(), |script, call| script + call.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_eight_versions_pass_all_twelve_phases() {
    let Some(server) = production().await else { return };
    let world = world(&server, "cti_scraper");
    let before = databases(&server).await;
    let ended = verify(&world, SCRIPT, &["--json"]).expect(0).told("68 versions from 1 to 68");
    let passed = checks(&report(&ended), true, None);
    for phase in 1..=12 {
        assert!(ended.stderr.contains(&format!("started: {phase}/12 ")), "phase {phase}");
    }
    ended.told(&format!("PASSED: {0} of {0} checks", passed.len()));
    assert!(passed.len() >= 30, "{passed:?}");
    assert_eq!((world.names("tmp"), databases(&server).await), (Vec::new(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_of_a_restored_table_is_seen_by_its_own_checks() {
    let Some(server) = production().await else { return };
    server.create("copy", VERSIONS).await;
    let world = world(&server, "cti_scraper").with_env("COPY", &server.place("copy"));
    let world = world.file("damaging.rhai", &damaging()).file("versions.sql", VERSIONS);
    let metrics = format!("metrics={}", METRICS.join(","));
    let ended = world.run(&["damaging.rhai", "--json", "--set", &metrics]).expect(1);
    let report = report(&ended);
    let mut seen_once = Names::new();
    for (sql, expected, alone) in damages() {
        let failed = checks(&report, false, Some(&sql));
        assert!(if alone { failed == expected } else { failed.is_superset(&expected) }, "{sql}\nsaw {failed:#?}");
        seen_once.extend(expected);
    }
    assert_eq!(
        checks(&report, true, Some("select 1")).difference(&seen_once).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "nothing makes these fail"
    );
}

/// What is wrong with a backup file, how it is made, and the checks of it that fail.
const BAD_BACKUPS: &[(&str, &[&str])] = &[
    (
        "of another table",
        &[
            "{} names ml_model_versions",
            "{} has the COPY statement of ml_model_versions",
            "{} has one data row for each version",
            "{}'s metadata counts every version",
        ],
    ),
    (
        "definitions only",
        &[
            "{} has the COPY statement of ml_model_versions",
            "{} has one data row for each version",
            "{}'s metadata counts every version",
            "{} is what its manifest and checksum say",
        ],
    ),
    (
        "one row short",
        &[
            "{} has one data row for each version",
            "{}'s metadata counts every version",
            "{} is what its manifest and checksum say",
        ],
    ),
    (
        "tiny",
        &["{} has a plausible size", "{}'s metadata counts every version", "{} is what its manifest and checksum say"],
    ),
    ("of another tool", &["{}'s metadata counts every version", "{} is what its manifest and checksum say"]),
    (
        "empty",
        &[
            "{} names ml_model_versions",
            "{} has the COPY statement of ml_model_versions",
            "{} has one data row for each version",
            "{} has a plausible size",
            "{}'s metadata counts every version",
            "{} passes what the restore validates",
            "{} is what its manifest and checksum say",
        ],
    ),
    (
        "cut",
        &[
            "{} has one data row for each version",
            "{}'s metadata counts every version",
            "{} passes what the restore validates",
            "{} is what its manifest and checksum say",
        ],
    ),
    ("whole", &[]),
];

/// Puts the bad backups into a world, plain and packed.
fn make_bad_backups(world: &World, server: &TestServer) -> bool {
    let Some(foreign) = server.pg_dump("cti_scraper", &[]) else { return false };
    let definitions = server.pg_dump("cti_scraper", &["--schema-only"]).unwrap();
    let text = String::from_utf8(foreign).unwrap();
    let short: String = text.lines().filter(|l| !l.starts_with("17\t")).map(|l| format!("{l}\n")).collect();
    let rows: String = (1..=68).map(|n| format!("{n}\n")).collect();
    let tiny =
        format!("COPY public.ml_model_versions (n) FROM stdin;\n{rows}\\.\n\n-- PostgreSQL database dump complete\n");
    let cut = text[..text.len() / 2].to_owned();
    let made = [
        ("definitions only", definitions),
        ("one row short", short.into()),
        ("tiny", tiny.into()),
        ("of another tool", text.into()),
        ("empty", Vec::new()),
        ("cut", cut.into()),
    ];
    for (name, bytes) in made {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &bytes).unwrap();
        let packed = if bytes.is_empty() { Vec::new() } else { packed.finish().unwrap() };
        std::fs::write(world.path(&format!("{name}.sql")), &bytes).unwrap();
        std::fs::write(world.path(&format!("{name}.sql.gz")), packed).unwrap();
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_backup_is_seen_by_its_own_checks() {
    let Some(server) = production().await else { return };
    server
        .execute(
            "cti_scraper",
            "create table other (id integer primary key); insert into other select generate_series(1, 500)",
        )
        .await;
    let names: Vec<_> = BAD_BACKUPS.iter().map(|(name, _)| *name).collect();
    let list = serde_json::to_string(&names).unwrap();
    let script = format!(
        r##"
        import "std/tables" as tables;
        let source = postgres(secret("SOURCE"));
        for ending in ["sql", "sql.gz"] {{
            dump(source, #{{ to: `of another table.${{ending}}`, tables: ["other"] }});
            dump(source, #{{ to: `whole.${{ending}}`, tables: ["ml_model_versions"] }});
        }}
        let look = |name, label, ending| step(`${{name}}, ${{label}}`, || {{
            tables::check_backup(label, `${{name}}.${{ending}}`, #{{ table: "ml_model_versions" }}, 68);
            tables::check_restorable(label, `${{name}}.${{ending}}`);
        }});
        for name in {list} {{
            look.call(name, "uncompressed", "sql");
            look.call(name, "compressed", "sql.gz");
        }}"##
    );
    let world = world(&server, "cti_scraper").file("look.rhai", &script);
    if !make_bad_backups(&world, &server) {
        return;
    }
    let ended = world.run(&["look.rhai", "--json"]).expect(1);
    let report = report(&ended);
    for (name, expected) in BAD_BACKUPS {
        for label in ["uncompressed", "compressed"] {
            // What is packed well is as small as an honest little table.
            let tiny = *name == "tiny" && label == "compressed";
            let expected = expected.iter().filter(|check| !(tiny && check.ends_with("plausible size")));
            let expected: Names = expected.map(|check| check.replace("{}", &format!("{label} backup"))).collect();
            assert_eq!(checks(&report, false, Some(&format!("{name}, {label}"))), expected, "{name}, {label}");
        }
    }
}

/// Where the stock script is wrong in a fork, and the checks that must see it.
const FORKS: &[(&str, &str, &[&str])] = &[
    (
        "let truth = restored_as.call(snapshot, test_database);",
        "execute(truth, \"delete from ml_model_versions where version_number = 68\");",
        &["the test database has every version of production", "the test database is equal to production, row for row"],
    ),
    (
        "let plain  = step(\"3/12 back up, uncompressed\", || dump(truth, folder + \"/backup.sql\"));",
        "execute(truth, \"update ml_model_versions set notes = 'later' where version_number = 5\");",
        &["both backups hold the same", "the compressed restore is equal, row for row"],
    ),
    (
        "let from_plain = step(\"4/12 restore the uncompressed backup\", || restored_as.call(plain, test_database + \"_uncompressed\"));",
        "execute(from_plain, \"update ml_model_versions set notes = 'x' where version_number = 5\");",
        &["the uncompressed restore is equal, row for row"],
    ),
    (
        "let copy       = step(\"4/12 restore the compressed backup\", || restored_as.call(packed, test_database + \"_compressed\"));",
        "execute(copy, \"alter table ml_model_versions drop constraint ml_model_versions_version_number_key\");",
        &["every column, index, key, owner and grant is restored"],
    ),
    (
        "step(\"8/12 relationships\",          || tables::check_relations(truth, copy, about));",
        "execute(copy, \"insert into ml_model_versions (id, version_number, trained_at) values (0, 0, now())\");",
        &["the metadata's count is what was restored", "every column has as many NULLs"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_script_fails_where_its_own_phases_go_wrong() {
    let Some(server) = production().await else { return };
    server.create("nothing", &format!("{VERSIONS}; truncate ml_model_versions")).await;
    let twice = "alter table ml_model_versions drop constraint ml_model_versions_version_number_key; update ml_model_versions set version_number = 1 where version_number = 2";
    server.create("twice", &format!("{VERSIONS}; {twice}")).await;
    let mut seen = Names::new();
    for (line, damage, expected) in FORKS {
        let world =
            world(&server, "cti_scraper").file("fork.rhai", &fork(SCRIPT, &[(line, &format!("{line}\n{damage}"))]));
        let ended = verify(&world, "fork.rhai", &["--json"]).expect(1);
        let failed = checks(&report(&ended), false, None);
        assert!(failed.is_superset(&names(expected)), "{damage}\n{failed:#?}");
        seen.extend(failed);
    }
    for (database, claim) in
        [("nothing", "production has rows in ml_model_versions"), ("twice", "production has each version_number once")]
    {
        let ended = verify(&world(&server, database), SCRIPT, &["--json"]).expect(1);
        let failed = checks(&report(&ended), false, None);
        assert!(failed.contains(claim), "{failed:#?}");
        seen.extend(failed);
    }
    // The other tests of this file see the rest fail: what is made of a restored table and of a backup file.
    let there = checks(&report(&verify(&world(&server, "cti_scraper"), SCRIPT, &["--json"]).expect(0)), true, None);
    let elsewhere: Names = damages().into_iter().flat_map(|(_, seen, _)| seen).collect();
    let of_files = |name: &String| {
        BAD_BACKUPS.iter().any(|(_, seen)| {
            ["uncompressed", "compressed"]
                .iter()
                .any(|label| seen.iter().any(|check| check.replace("{}", &format!("{label} backup")) == *name))
        })
    };
    let never: Vec<_> =
        there.iter().filter(|name| !seen.contains(*name) && !elsewhere.contains(*name) && !of_files(name)).collect();
    assert_eq!(never, Vec::<&String>::new(), "nothing makes these fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_basic_version_prints_its_eight_steps_and_sees_a_lost_row() {
    let Some(server) = production().await else { return };
    let image = docker_image().await.map_or("image=postgres:15".into(), |image| format!("image={image}"));
    let lost = fork(
        BASIC,
        &[(
            "    step(\"7/8 verify every row\", || {",
            "    execute(copy, \"delete from ml_model_versions where version_number = 68\");\n    step(\"7/8 verify every row\", || {",
        )],
    );
    let world = world(&server, "cti_scraper").file("lost.rhai", &lost);
    let run = |script: &str| world.run(&[script, "--set", "source=secret:SOURCE", "--set", &image]);
    let mut ended = run(BASIC).expect(0);
    for line in [
        "Production database has 68 model versions",
        "Test database created",
        "Table structure created",
        "Copied 68 model versions to test database",
        "Backup created",
        "Backup contains ml_model_versions",
        "Database restored",
        "Verification successful!",
        "Sample data integrity verified",
        "Cleanup complete",
    ] {
        ended = ended.told(&format!("✓ {line}"));
    }
    assert_eq!(world.names("tmp"), Vec::<String>::new());
    run("lost.rhai").expect(1).told("✗ Verification failed").told("✗ Sample data differs");
}

/// What a write would move: rows changed in production, as its own statistics count them.
async fn writes(server: &TestServer) -> String {
    let counters = "select pg_stat_get_db_tuples_inserted(oid) + pg_stat_get_db_tuples_updated(oid) + pg_stat_get_db_tuples_deleted(oid)
        from pg_database where datname = 'cti_scraper'";
    server.value("postgres", counters).await
}

#[tokio::test(flavor = "multi_thread")]
async fn production_is_not_written_and_nothing_is_left_even_after_ctrl_c() {
    let Some(server) = production().await else { return };
    let world = world(&server, "cti_scraper");
    let (databases, counters) = (server.databases().await, writes(&server).await);
    for step in ["1/12", "2/12 isolated", "3/12 back up, compressed", "4/12 restore the compressed", "6/12"] {
        let mut started = world.start(&[SCRIPT, "--set", "source=secret:SOURCE", "--set", "beside=true"]);
        assert!(started.until(&format!("started: {step}")), "{step}");
        started.signal(Signal::SIGINT);
        started.end().expect(130);
        assert_eq!((server.databases().await, world.names("tmp")), (databases.clone(), Vec::new()), "after {step}");
    }
    assert_eq!(writes(&server).await, counters, "nobody wrote to production");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_says_what_it_is_and_what_to_do() {
    let Some(server) = production().await else { return };
    let again = fork(
        SCRIPT,
        &[("    let versions = snapshot.rows(table);", "    restore(snapshot, truth); let versions = 68;")],
    );
    let world = world(&server, "cti_scraper").file("again.rhai", &again);
    verify(&world, "again.rhai", &[]).expect(3).told("cti_scraper_test").told("replace: true");
    verify(&world, SCRIPT, &["--set", "table=ml_models"])
        .expect(2)
        .told("there is no table ml_models")
        .told("table=NAME");
    verify(&world, SCRIPT, &["--set", "json=matrix"]).expect(2).told("has no column").told("matrix").told("json=");
    world.run(&[SCRIPT]).expect(2).told("no source was given");

    server.execute("postgres", "create database cti_scraper_test").await;
    let ended = verify(&world, SCRIPT, &[]).expect(2);
    ended.told("\"cti_scraper_test\" already exists").told("runner gc").told("DROP DATABASE");
    assert!(server.databases().await.contains(&"cti_scraper_test".to_owned()), "it was there before and is not ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_down_is_named_with_the_next_step() {
    let Some(image) = docker_image().await else { return not_run("this needs Docker with an image") };
    let name = format!("runner-test-down-{}", std::process::id());
    let docker = |arguments: &[&str]| std::process::Command::new("docker").args(arguments).output().unwrap();
    assert!(docker(&["create", "--name", &name, &image]).status.success());
    let ended = World::new(PROGRAM).run(&[SCRIPT, "--set", &format!("source=container:{name}")]);
    docker(&["rm", &name]);
    ended.expect(2).told(&format!("container {name} is not running")).told(&format!("docker start {name}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_no_database_and_no_file() {
    let Some(server) = production().await else { return };
    let (world, before) = (world(&server, "cti_scraper"), server.databases().await);
    for script in [SCRIPT, BASIC] {
        for beside in ["false", "true"].iter().filter(|beside| script == SCRIPT || **beside == "false") {
            let set = format!("beside={beside}");
            let more: &[&str] = if script == SCRIPT { &["--set", &set] } else { &[] };
            let arguments = [&[script, "--dry-run", "--set", "source=secret:SOURCE"], more].concat();
            world.run(&arguments).expect(0).told("68").told("would dump");
        }
    }
    assert_eq!((server.databases().await, world.names("tmp")), (before, Vec::new()));
    assert_eq!(world.names("."), [".runner", "tmp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_table_needs_no_new_script() {
    let Some(server) = postgres().await else { return };
    server
        .create(
            "cti_scraper",
            "create schema billing;
             create table billing.invoices (id int primary key, number bigint not null unique, total numeric(12,2), tax numeric, lines jsonb, issued_at timestamptz);
             create table billing.payments (id int primary key, invoice_id int references billing.invoices (id));
             insert into billing.invoices select n, 1000 + n, n * 1.10, n / 7.0, '{\"n\": 1.0}', timestamptz '2026-01-01' + n * interval '1 h' from generate_series(1, 30) n;
             insert into billing.payments select n, n from generate_series(1, 20) n;",
        )
        .await;
    let set = [
        "table=billing.invoices",
        "key=number",
        "path=",
        "metrics=total,tax",
        "json=lines",
        "times=issued_at",
        "relation_table=billing.payments",
        "relation_column=invoice_id",
    ];
    let more: Vec<_> = set.iter().flat_map(|pair| ["--set", pair]).collect();
    let ended = verify(&world(&server, "cti_scraper"), SCRIPT, &more).expect(0);
    ended.told("30 versions from 1001 to 1030").told("as many comparisons point at a version: 20");

    let bare = ["table=billing.invoices", "key=number", "path=", "metrics=", "json=", "times=", "relation_table="];
    let more: Vec<_> = bare.iter().flat_map(|pair| ["--set", pair]).collect();
    verify(&world(&server, "cti_scraper"), SCRIPT, &more).expect(0).told("no relation was named");
}
