//! No false alarm: clean copies, restored in every way there is, compare equal while the source is written to.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use runner::backups::{Backup, Format};
use runner::compare::{Fingerprint, Scope, compare};
use runner::postgres::{
    Address, DumpRequest, IntegrityOptions, Provider, RestoreOptions, RestoreTarget, dump, restore, tools,
    verify_integrity,
};
use runner::process;
use runner::progress::Progress;
use runner_test_support::{TestServer, not_run, postgres_by};

use crate::base::{Base, read};

const TYPES: &str = include_str!("../fixtures/types.sql");
/// Schemas that others wrote; their origins and licences stand beside them.
const PUBLIC: [(&str, &str); 3] = [
    ("django", include_str!("../fixtures/public/django.sql")),
    ("procrastinate", include_str!("../fixtures/public/procrastinate.sql")),
    ("pgqueuer", include_str!("../fixtures/public/pgqueuer.sql")),
];
/// Settings that change how values are written, where a database or a role makes them.
const HOSTILE: &str = "alter database {db} set timezone = 'Asia/Kathmandu'; alter database {db} set datestyle = 'German, DMY'; \
     alter database {db} set intervalstyle = 'sql_standard'; alter database {db} set extra_float_digits = 0; \
     alter database {db} set bytea_output = 'escape'; alter database {db} set search_path = 'app, public'; \
     alter database {db} set lc_monetary = 'C'; alter database {db} set standard_conforming_strings = off; \
     alter database {db} set xmlbinary = 'hex'; alter database {db} set xmloption = 'document'; \
     alter database {db} set quote_all_identifiers = on; alter database {db} set statement_timeout = '1ms'; \
     alter database {db} set row_security = off; alter database {db} set default_transaction_isolation = 'serializable'; \
     alter database {db} set lock_timeout = '1ms'; alter database {db} set enable_seqscan = off; \
     alter role postgres set timezone = 'America/St_Johns'; alter role postgres in database {db} set datestyle = 'SQL, DMY'";

/// Returns an installed program of PostgreSQL.
fn program(name: &str) -> Option<PathBuf> {
    let found = process::find(name, &tools::folders());
    if found.is_none() {
        not_run(&format!("there is no {name} on this machine"));
    }
    found
}

fn command(name: &str, address: &Address) -> Option<Command> {
    let mut command = Command::new(program(name)?);
    command.env_clear().stdin(Stdio::null());
    if let Some(password) = address.password() {
        command.env("PGPASSWORD", password.expose());
    }
    Some(command)
}

fn done(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A pgbench that writes until it is dropped.
struct Writing(Child);

impl Writing {
    fn start(address: &Address) -> Option<Self> {
        let conninfo = address.conninfo();
        // The database's own settings would end its statements.
        let options = "-c statement_timeout=0 -c lock_timeout=0 -c search_path=public -c default_transaction_isolation=read\\ committed";
        done(command("pgbench", address)?.env("PGOPTIONS", options).args(["-q", "-i", "-s", "1", &conninfo]));
        let mut command = command("pgbench", address)?;
        command.env("PGOPTIONS", options).args(["-n", "-c", "2", "-T", "100000", &conninfo]);
        Some(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn differences(expected: &Fingerprint, found: &Fingerprint) -> Vec<String> {
    compare(expected, found, &Scope::default()).unwrap().differences.iter().map(ToString::to_string).collect()
}

async fn dumped(base: &Base, database: &str, to: &Path) -> Backup {
    let request = DumpRequest {
        source: base.server.address(database),
        to: to.to_owned(),
        format: Format::of_name(&to.to_string_lossy()).unwrap(),
        tables: Vec::new(),
        jobs: None,
        mask: None,
        matviews: true,
    };
    dump(&request, &Progress::default(), &base.ledger).await.unwrap()
}

/// Restores by our own loader into a sandbox, compares, and checks every rule of the copy.
async fn restored(base: &Base, backup: &Backup, target: &TestServer, name: &str) -> Vec<String> {
    let options = RestoreOptions { database: name.into(), ..RestoreOptions::default() };
    let into = RestoreTarget::sandbox(target.sandbox());
    let made = restore(backup, &into, &options, &base.ledger, &Progress::default()).await.unwrap();
    let found = read(&made.address, &base.ledger).await.unwrap();
    let mut said = differences(&backup.manifest().unwrap().fingerprint, &found);
    let options = IntegrityOptions { indexes: true, may_install: true };
    let rules = verify_integrity(&made.address, options, &Progress::default()).await.unwrap();
    said.extend((!rules.sound()).then(|| rules.summary()));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_rounds_raise_no_alarm_while_the_source_is_written_to() {
    let rounds: u32 = std::env::var("RUNNER_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let Some(base) = Base::local().await else { return };
    let owned = "alter table more.opt set tablespace runner_fast; grant create on tablespace runner_fast to more_user";
    base.server.execute("src", owned).await;
    let database = "alter database src owner to app_owner; alter database src connection limit 77; \
                    comment on database src is 'the source'; revoke temporary on database src from public; \
                    grant create on database src to app_ro with grant option; alter role app_ro in database src set work_mem = '7MB'";
    base.server.execute("postgres", database).await;
    base.server.execute("postgres", &HOSTILE.replace("{db}", "src")).await;
    let Some(_writing) = Writing::start(&base.server.address("src")) else { return };
    let mut targets = Vec::new();
    for provider in [Provider::Local, Provider::Docker] {
        targets.extend(postgres_by(provider).await);
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let names = ["a.sql.gz", "a.sql.zst", "a.dump", "a.sql"];
        let name = format!("{round}-{}", names[round as usize % names.len()]);
        let backup = dumped(&base, "src", &folder.path().join(name)).await;
        for target in &targets {
            let said = restored(&base, &backup, target, "copy").await;
            assert_eq!(said, Vec::<String>::new(), "round {round} into {}", target.address("copy"));
            target.drop_database("copy").await;
        }
        std::fs::remove_file(backup.path()).unwrap();
    }
    eprintln!("{rounds} rounds into {} servers without an alarm", targets.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_every_way_to_restore_gives_an_equal_copy() {
    let Some(base) = Base::local().await else { return };
    base.server.create("types", TYPES).await;
    for (name, script) in PUBLIC {
        base.server.create(name, script).await;
    }
    let folder = tempfile::tempdir().unwrap();
    for source in ["types", "src", "django", "procrastinate", "pgqueuer"] {
        let backup = dumped(&base, source, &folder.path().join(format!("{source}.sql"))).await;
        let print = &backup.manifest().unwrap().fingerprint;
        let mut said = restored(&base, &backup, &base.server, "ours").await;
        for way in ["psql", "custom", "directory"] {
            base.server.execute("postgres", &format!("create database {way} template template0")).await;
            let (from, to) = (base.server.address(source), base.server.address(way));
            let archive = folder.path().join(format!("{source}.{way}"));
            let archive = archive.to_str().unwrap();
            let Some(mut pg_restore) = command("pg_restore", &to) else { return };
            let Some(mut pg_dump) = command("pg_dump", &from) else { return };
            let Some(mut psql) = command("psql", &to) else { return };
            if way == "psql" {
                psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", &to.conninfo(), "-f"]);
                done(psql.arg(backup.path()));
            } else {
                done(pg_dump.args(["-F", &way[..1], "-f", archive, "-d", &from.conninfo()]));
                done(pg_restore.args(["--exit-on-error", "-d", &to.conninfo(), archive]));
            }
            let found = base.fingerprint(way).await.unwrap();
            said.extend(differences(print, &found).into_iter().map(|text| format!("{source} by {way}: {text}")));
            base.drop(way).await;
        }
        base.drop("ours").await;
        assert_eq!(said, Vec::<String>::new());
    }
}
