//! A private PostgreSQL for unit tests: made by initdb in a temporary folder, reached by its socket, gone on drop.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Access, Address, Host, Session};

/// A running cluster of this test alone.
pub(super) struct TestCluster {
    folder: tempfile::TempDir,
    bin: PathBuf,
    owner: Option<(u32, u32)>,
}

impl TestCluster {
    /// Makes and starts a cluster.
    pub(super) fn start() -> Self {
        Self::start_with(|_| "-c listen_addresses=".to_owned())
    }

    /// Makes and starts a cluster with options that `more` returns for its folder.
    pub(super) fn start_with(more: impl FnOnce(&Self) -> String) -> Self {
        let bin =
            super::tools::folders().into_iter().find(|f| f.join("initdb").exists()).expect("PostgreSQL is installed");
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let owner = nix::unistd::geteuid().is_root().then(|| {
            let user = nix::unistd::User::from_name("postgres").unwrap().expect("there is a user postgres");
            std::os::unix::fs::chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
            (user.uid.as_raw(), user.gid.as_raw())
        });
        let cluster = Self { folder, bin, owner };
        let data = cluster.data();
        // A host entry for a role with a password, before the line that trusts everyone on the socket.
        cluster.run("initdb", &["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D", &data]);
        let hba = cluster.folder.path().join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("local all locked scram-sha-256\n{rules}")).unwrap();
        let more = more(&cluster);
        let options = format!("-k {} -c fsync=off -c max_connections=40 {more}", cluster.folder.path().display());
        let log = cluster.folder.path().join("log");
        cluster.run("pg_ctl", &["-w", "-s", "-D", &data, "-o", &options, "-l", &log.display().to_string(), "start"]);
        cluster
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
            std::os::unix::process::CommandExt::gid(&mut command, gid);
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{program}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Gives a file to the server's own user, who alone may read a key.
    pub(super) fn give(&self, file: &Path) {
        if let Some((uid, gid)) = self.owner {
            std::os::unix::fs::chown(file, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Returns the folder with the socket.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the address of one of its databases.
    pub(super) fn address(&self, database: &str) -> Address {
        Address::new(Host::Socket(self.folder.path().into()), 5432, "postgres", None, database)
    }

    /// Opens a session that may write.
    pub(super) async fn session(&self, database: &str) -> Session {
        Session::open(&self.address(database), Access::Writable).await.unwrap()
    }

    /// Runs statements.
    pub(super) async fn execute(&self, database: &str, sql: &str) {
        self.session(database).await.client().batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Restores an archive of pg_dump's own.
    pub(super) fn pg_restore(&self, database: &str, archive: &Path) {
        let out = Command::new(self.bin.join("pg_restore"))
            .args(["--exit-on-error", "-d", &self.address(database).conninfo()])
            .arg(archive)
            .output()
            .unwrap();
        assert!(out.status.success(), "pg_restore: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Feeds a script to psql, which stops at the first error.
    pub(super) fn psql(&self, database: &str, script: &Path) {
        let out = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"])
            .arg(script)
            .args(["-d", &self.address(database).conninfo()])
            .output()
            .unwrap();
        assert!(out.status.success(), "psql: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-s", "-m", "immediate", "-D", &self.data(), "stop"]);
    }
}
