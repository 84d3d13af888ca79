//! Servers that tests own. They are made by the code under test and collected by it, too, when a test was killed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use runner::cleanup::{self, Ledger};
use runner::docker::{self, Engine};
use runner::postgres::lexer::{Lexed, Nesting};
use runner::postgres::{Access, Address, Provider, Sandbox, SandboxOptions, Session, collect_cluster, lexer, tools};
use runner::process;
use runner::progress::Progress;

use crate::{image, not_run};

/// The image to pull where none is there.
const PULLED: &str = "postgres:15";

/// A PostgreSQL server of one test, removed when it is dropped.
pub struct TestServer {
    sandbox: Sandbox,
    _ledger: TestLedger,
}

impl TestServer {
    /// Returns the superuser's address of a database.
    pub fn address(&self, database: &str) -> Address {
        self.sandbox().address(database)
    }

    /// Returns where a database is, as an operator would write it, with the password.
    pub fn place(&self, database: &str) -> String {
        let address = self.address(database);
        let (host, port, user) = (address.host(), address.port(), address.user());
        let password = address.password().map_or("", |p| p.expose());
        format!("host={host} port={port} user={user} password={password} dbname={database}")
    }

    /// Returns the sandbox that it is.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Returns the container's name, where it is one.
    pub fn container_name(&self) -> Option<&str> {
        self.sandbox().container().map(docker::Container::name)
    }

    /// Opens a session that may write, as a user would.
    pub async fn session(&self, database: &str) -> Session {
        Session::open_for_user(&self.address(database), Access::Writable).await.expect("the server answers")
    }

    /// Runs statements.
    pub async fn execute(&self, database: &str, sql: &str) {
        let session = self.session(database).await;
        session.client().batch_execute(sql).await.unwrap_or_else(|e| panic!("{}: {e:?}", &sql[..sql.len().min(200)]));
    }

    /// Returns the first value of the first row as text.
    pub async fn value(&self, database: &str, sql: &str) -> String {
        let session = self.session(database).await;
        let rows = session.client().simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let value = rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// Makes a database from a script.
    pub async fn create(&self, database: &str, script: &str) {
        self.execute("postgres", &format!("create database {database}")).await;
        self.create_in(database, script).await;
    }

    /// Drops a database, also a template and one with subscriptions.
    pub async fn drop_database(&self, database: &str) {
        let open = format!("select count(*) from pg_database where datname = '{database}' and datallowconn");
        if self.value("postgres", &open).await == "1" {
            let all = "select coalesce(string_agg(format('drop subscription %I', subname), ';'), '') from pg_subscription s \
                       join pg_database d on d.oid = subdbid and datname = current_database()";
            let drop = self.value(database, all).await;
            self.execute(database, &drop).await;
            self.execute("postgres", &format!("alter database {database} is_template false")).await;
        }
        self.execute("postgres", &format!("drop database if exists {database} with (force)")).await;
    }

    /// Runs a script in a database, one statement after the other.
    pub async fn create_in(&self, database: &str, script: &str) {
        let session = self.session(database).await;
        for statement in statements(script) {
            session.client().batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
    }

    /// Returns what the local pg_dump writes with these arguments, or nothing where there is no pg_dump.
    pub fn pg_dump(&self, database: &str, args: &[&str]) -> Option<Vec<u8>> {
        let Some(program) = process::find("pg_dump", &tools::folders()) else {
            not_run("there is no pg_dump on this machine");
            return None;
        };
        let address = self.address(database);
        let mut command = Command::new(program);
        command.args(args).args(["-d", &address.conninfo()]).env_clear();
        if let Some(password) = address.password() {
            command.env("PGPASSWORD", password.expose());
        }
        let out = command.output().expect("pg_dump starts");
        assert!(out.status.success(), "pg_dump: {}", String::from_utf8_lossy(&out.stderr));
        Some(out.stdout)
    }

    /// Returns the names of the databases, sorted.
    pub async fn databases(&self) -> Vec<String> {
        let all = "select string_agg(datname, ' ' order by datname) from pg_database";
        self.value("postgres", all).await.split(' ').map(str::to_owned).collect()
    }
}

/// Splits a script as psql does: what one message holds would be one transaction.
fn statements(script: &str) -> Vec<&str> {
    let (mut found, mut from, mut at, mut nesting) = (Vec::new(), 0, 0, Nesting::default());
    while let Ok(Lexed::Token(token, to)) = lexer::next(script.as_bytes(), at, true, false) {
        if nesting.ends(token, &script.as_bytes()[at..to]) {
            found.push(&script[from..to]);
            (from, nesting) = (to, Nesting::default());
        }
        at = to;
    }
    found.push(&script[from..]);
    found
}

/// The ledger of one test, drained when it is dropped, whatever became of the test.
pub struct TestLedger {
    ledger: Arc<Ledger>,
    folder: PathBuf,
}

impl std::ops::Deref for TestLedger {
    type Target = Arc<Ledger>;

    fn deref(&self) -> &Arc<Ledger> {
        &self.ledger
    }
}

impl Drop for TestLedger {
    fn drop(&mut self) {
        let ledger = Arc::clone(&self.ledger);
        // The test's own runtime cannot be waited for from inside.
        let drained = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(ledger.drain())
        });
        let left = drained.join().expect("the drain does not panic");
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
        let _ = std::fs::remove_dir_all(&self.folder); // what is left of it harms nobody
    }
}

/// Returns a new ledger for a test, after what killed tests left behind was removed.
pub async fn ledger() -> TestLedger {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let runs = runs();
    collect(&runs).await;
    let run = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = runs.join(&run);
    let _ = std::fs::remove_dir_all(&folder); // of a process that had our id long ago
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let ledger = Ledger::create(&run, &folder).expect("the ledger can be made");
    TestLedger { ledger, folder }
}

fn runs() -> PathBuf {
    std::env::temp_dir().join(format!("runner-tests-{}", nix::unistd::geteuid()))
}

/// Does what `runner gc` does.
async fn collect(runs: &std::path::Path) {
    let engine = Engine::default();
    for abandoned in cleanup::abandoned(runs, cleanup::Sought::LeftBehind).unwrap_or_default() {
        let mut gone = true;
        for record in &abandoned.records {
            let removed = match record.kind.as_str() {
                "container" => docker::collect_container(&engine, record).await,
                "process" => docker::collect_process(&engine, record).await,
                "cluster" => collect_cluster(record).await,
                _ => Ok(()), // databases went with their servers
            };
            gone &= removed.is_ok();
        }
        let folder = abandoned.folder.clone();
        if gone && abandoned.all_removed().is_ok() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Returns the image to use for PostgreSQL in Docker: the one in RUNNER_TEST_IMAGE, one that is there, one that can be
/// pulled, or one built from the local PostgreSQL. Nothing when there is no Docker or no way to an image.
pub async fn docker_image() -> Option<String> {
    let docker = bollard::Docker::connect_with_defaults().ok()?.negotiate_version().await.ok()?;
    if let Ok(image) = std::env::var("RUNNER_TEST_IMAGE") {
        return Some(image);
    }
    if let Some(image) = present(&docker).await {
        return Some(image);
    }
    let engine = Engine::default();
    if engine.ensure_image(PULLED, &Progress::default()).await.is_ok() {
        return Some(PULLED.to_owned());
    }
    image::build(&docker).await.inspect_err(|e| eprintln!("no image could be built: {e}")).ok()
}

async fn present(docker: &bollard::Docker) -> Option<String> {
    let images = docker.list_images(None::<bollard::query_parameters::ListImagesOptions>).await.ok()?;
    let mut tags: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
    tags.retain(|tag| tag.starts_with("postgres:") || tag.starts_with("runner-test-postgres:"));
    tags.sort();
    tags.pop()
}

/// Returns a running server, in Docker where that is possible. Nothing when this machine has neither; the test then
/// says that it did not run.
pub async fn postgres() -> Option<TestServer> {
    if let Some(server) = postgres_by(Provider::Docker).await {
        return Some(server);
    }
    let local = postgres_by(Provider::Local).await;
    if local.is_none() {
        not_run("there is neither Docker with a PostgreSQL image nor a local PostgreSQL");
    }
    local
}

/// Returns a running server of one provider, or nothing where this machine has none.
pub async fn postgres_by(provider: Provider) -> Option<TestServer> {
    let image = match provider {
        Provider::Docker => docker_image().await?,
        _ => SandboxOptions::default().image,
    };
    let ledger = ledger().await;
    let options = SandboxOptions { provider, image, ..SandboxOptions::default() };
    match Sandbox::start(&options, &Engine::default(), &ledger, &Progress::default()).await {
        Ok(sandbox) => Some(TestServer { sandbox, _ledger: ledger }),
        Err(e) if e.kind() == runner::error::Kind::Missing => None,
        Err(e) => panic!("no server: {e:?}"),
    }
}

/// Returns a server of every provider that this machine has, and says which one is missing.
pub async fn both_providers() -> Vec<TestServer> {
    let mut servers = Vec::new();
    for (provider, name) in [(Provider::Docker, "Docker with a PostgreSQL image"), (Provider::Local, "PostgreSQL")] {
        match postgres_by(provider).await {
            Some(server) => servers.push(server),
            None => not_run(&format!("there is no {name} on this machine")),
        }
    }
    servers
}
