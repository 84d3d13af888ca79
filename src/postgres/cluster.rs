//! A private cluster: a PostgreSQL made by the local initdb in a temporary folder, which ends when we do.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use super::postmaster::{self, Server, is_ready, remove_cluster, server_of};
use super::{Address, Host, TlsMode, tools};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::process::{self, Program};
use crate::secret::Secret;

const KIND: &str = "cluster";
const SUPERUSER: &str = "postgres";
const PORT: u16 = 5432;
/// A path of a Unix socket has 107 bytes at most, and the socket's own name needs some of them.
const LONGEST_FOLDER: usize = 107 - "/.s.PGSQL.65535.lock".len();
const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Settings of a server whose data nobody will miss: no flushing, and no WAL for a table that was filled by the
/// transaction that emptied it.
pub(super) const THROWAWAY: [(&str, &str); 11] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "2GB"),
    ("checkpoint_timeout", "30min"),
    ("maintenance_work_mem", "128MB"),
    // A dump's definitions run as one transaction, which locks every table that it makes.
    ("max_locks_per_transaction", "1024"),
    ("jit", "off"),
    ("log_min_messages", "warning"),
];

/// What a new cluster shall be.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Listens on 127.0.0.1 at this port, too; 0 chooses a free one.
    pub port: Option<u16>,
    /// Settings on top of those of a throwaway server.
    pub settings: Vec<(String, String)>,
}

/// A running private cluster.
pub struct Cluster {
    making: Arc<Making>,
    server: Arc<Mutex<Option<Server>>>,
    port: Option<u16>,
    version: String,
    ticket: Ticket,
}

impl Cluster {
    /// Makes and starts a cluster.
    pub async fn start(options: &ClusterOptions, ledger: &Arc<Ledger>) -> Result<Self> {
        let bin = programs()?;
        let user = server_user()?;
        let folder = new_folder(ledger.run(), user.is_some());
        let record = Record::new(KIND, folder.display().to_string(), by_hand(&bin, &folder))
            .fact("folder", folder.display().to_string());
        let password = Secret::new(random_word()?);
        let version = version(&bin).await.unwrap_or_else(|| "of unknown version".into());
        let server: Arc<Mutex<Option<Server>>> = Arc::default();
        let making = Arc::new(Making { bin, folder: folder.clone(), user, password, options: options.clone() });
        let make = {
            let (making, server) = (Arc::clone(&making), Arc::clone(&server));
            async move { making.run(&server).await }
        };
        let undo = {
            let server = Arc::clone(&server);
            move || async move {
                let running = server.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(running) = running {
                    running.stop().await;
                }
                remove_cluster(&folder).await
            }
        };
        let (port, ticket) = ledger.make(record, make, undo).await?;
        Ok(Self { making, server, port, version, ticket })
    }

    /// Returns the superuser's address of a database.
    pub fn address(&self, database: &str) -> Address {
        let host = Host::Socket(self.folder().to_owned());
        Address::new(host, self.port.unwrap_or(PORT), SUPERUSER, Some(self.making.password.clone()), database)
            .with_tls(TlsMode::Disable)
    }

    /// Returns the address over TCP, where a port was asked for.
    pub fn tcp_address(&self, database: &str) -> Option<Address> {
        let host = Host::Name(Ipv4Addr::LOCALHOST.to_string());
        let address = |port| Address::new(host, port, SUPERUSER, Some(self.making.password.clone()), database);
        self.port.map(address).map(|address| address.with_tls(TlsMode::Disable))
    }

    /// Says what it is, for instance `PostgreSQL 15.18 in /tmp/runner-x`.
    pub fn describe(&self) -> String {
        format!("PostgreSQL {} in {}", self.version, self.folder().display())
    }

    /// Returns the folder with the socket and the data.
    pub fn folder(&self) -> &Path {
        &self.making.folder
    }

    pub(super) fn password(&self) -> &Secret {
        &self.making.password
    }

    /// Stops and removes it now.
    pub async fn remove(self) -> Result<()> {
        self.ticket.remove().await
    }

    /// Leaves it to the user: starts the server again without the guard that would end it with us. Returns the command
    /// that connects and the one that removes it.
    pub async fn keep(self) -> Result<(String, String)> {
        // An orderly end this time: what was committed asynchronously may not be on its way to the disk yet.
        if let Some(server) = server_of(self.folder()) {
            postmaster::stop(server, self.folder(), Signal::SIGINT).await?;
        }
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop().await;
        }
        let detached =
            self.making.program("pg_ctl").args(["-w", "-s", "-D"]).arg(self.folder().join("data")).arg("start");
        let options = self.making.settings(self.port).map(|(name, value)| format!("-c '{name}={value}'"));
        let options = options.collect::<Vec<_>>().join(" ");
        let options = format!("{options} -k '{}'", self.folder().display());
        detached.arg("-l").arg(self.folder().join("log")).arg("-o").arg(options).output().await?;
        let connect = format!("psql -h {} -p {} -U {SUPERUSER}", self.folder().display(), self.port.unwrap_or(PORT));
        let remove = by_hand(&self.making.bin, self.folder());
        self.ticket.set_aside()?;
        Ok((connect, remove))
    }
}

/// The programs' folder, the account and the words of a cluster in the making.
struct Making {
    bin: PathBuf,
    folder: PathBuf,
    user: Option<User>,
    password: Secret,
    options: ClusterOptions,
}

impl Making {
    async fn run(&self, server: &Mutex<Option<Server>>) -> Result<Option<u16>> {
        self.make_folder()?;
        self.initdb().await?;
        let port = match self.options.port {
            Some(0) => Some(free_port()?),
            port => port,
        };
        let running = self.start(port)?;
        let pid_file = self.folder.join("data/postmaster.pid");
        // In its place before the first wait: whatever happens from here, undo finds it.
        *server.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        let deadline = Instant::now() + READY_LIMIT;
        while !is_ready(&pid_file) {
            let ended = server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(Server::has_ended);
            if ended || Instant::now() > deadline {
                let running = server.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(not_started(&self.folder, running, ended).await);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(port)
    }

    fn make_folder(&self) -> Result<()> {
        let made = std::fs::DirBuilder::new().mode(0o700).create(&self.folder);
        made.map_err(|e| Error::io("create", &self.folder, &e))?;
        self.give(&self.folder)
    }

    fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(|e| Error::io("give away", path, &e))
    }

    async fn initdb(&self) -> Result<()> {
        let password = self.folder.join("password");
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&password);
        let written = file.as_mut().map(|file| file.write_all(self.password.expose().as_bytes()));
        written.map_err(|e| Error::io("create", &password, e))?.map_err(|e| Error::io("write", &password, &e))?;
        self.give(&password)?;
        let locale = if cfg!(target_os = "macos") { "C" } else { "C.UTF-8" };
        let made = self
            .program("initdb")
            .args([
                "--username",
                SUPERUSER,
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--no-sync",
            ])
            .arg(format!("--locale={locale}"))
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", self.folder.join("data").display()))
            .output()
            .await;
        made.map_err(|e| Error::new(e.kind(), "could not make a private PostgreSQL cluster").caused_by_error(e))?;
        std::fs::remove_file(&password).map_err(|e| Error::io("remove", &password, &e))
    }

    fn start(&self, port: Option<u16>) -> Result<Server> {
        let mut guard = self.as_user(Server::guard()).arg(self.bin.join("postgres"));
        guard = guard.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        for (name, value) in self.settings(port) {
            guard = guard.arg("-c").arg(format!("{name}={value}"));
        }
        Server::start(guard)
    }

    fn settings(&self, port: Option<u16>) -> impl Iterator<Item = (String, String)> {
        let listen = if port.is_some() { "127.0.0.1" } else { "" };
        let port = port.unwrap_or(PORT).to_string();
        let ours = [("listen_addresses", listen), ("port", &port), ("unix_socket_permissions", "0700")];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let ours = THROWAWAY.into_iter().chain(ours).map(owned).collect::<Vec<_>>();
        ours.into_iter().chain(self.options.settings.clone())
    }

    fn program(&self, name: &str) -> Program {
        self.as_user(Program::new(self.bin.join(name)))
    }

    fn as_user(&self, program: Program) -> Program {
        let program = program.folder(&self.folder).env("TZ", "UTC");
        match &self.user {
            Some(user) => program.run_as(user.uid.as_raw(), user.gid.as_raw()),
            None => program,
        }
    }
}

async fn not_started(folder: &Path, server: Option<Server>, ended: bool) -> Error {
    let why = match server {
        Some(server) => server.stop().await,
        None => None,
    };
    let kind = if ended { Kind::Database } else { Kind::Timeout };
    let error = Error::new(kind, "could not start a private PostgreSQL").on(folder.display().to_string());
    match why {
        Some(why) => error.caused_by_error(why),
        None => error.caused_by(format!("it was not ready after {} seconds", READY_LIMIT.as_secs())),
    }
}

/// Returns the folder with initdb and postgres: what PATH says, else the newest version of this machine.
fn programs() -> Result<PathBuf> {
    let folders = tools::folders();
    let of_path = process::find("initdb", &folders);
    // Debian has links and wrappers in /usr/bin; the server itself is only in the versioned folders.
    let beside =
        of_path.and_then(|initdb| initdb.canonicalize().ok()).and_then(|initdb| Some(initdb.parent()?.to_owned()));
    beside
        .into_iter()
        .chain(folders)
        .find(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file())
        .ok_or_else(|| {
            Error::new(Kind::Missing, "there is no PostgreSQL server on this machine")
                .hint("install it (Debian: apt-get install postgresql), or use Docker")
        })
}

/// Returns whether this machine has what a cluster needs.
pub(super) fn is_possible() -> bool {
    programs().is_ok() && server_user().is_ok()
}

/// Returns the account to run the server as, which PostgreSQL demands where we are root.
fn server_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).ok().flatten() {
            return Ok(Some(user));
        }
    }
    Err(Error::new(Kind::Missing, "PostgreSQL does not run as root and there is no account postgres or nobody")
        .hint("run as another user, or use Docker"))
}

fn new_folder(run: &str, other_user: bool) -> PathBuf {
    let word = random_word().unwrap_or_else(|_| std::process::id().to_string());
    let name = format!("runner-{run}-{}", &word[..word.len().min(8)]);
    let temp = std::env::temp_dir();
    // The server's account must be able to go there, and the socket's path must fit.
    let passable = !other_user || temp.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    let fits = temp.as_os_str().len() + 1 + name.len() <= LONGEST_FOLDER;
    if passable && fits { temp.join(name) } else { Path::new("/tmp").join(name) }
}

fn by_hand(bin: &Path, folder: &Path) -> String {
    let (pg_ctl, data) = (bin.join("pg_ctl"), folder.join("data"));
    format!("{} -D {} -m immediate stop; rm -rf {}", pg_ctl.display(), data.display(), folder.display())
}

async fn version(bin: &Path) -> Option<String> {
    let out = Program::new(bin.join("postgres")).arg("--version").output().await.ok()?;
    String::from_utf8_lossy(&out).split_whitespace().nth(2).map(str::to_owned)
}

fn free_port() -> Result<u16> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|e| Error::new(Kind::Network, "could not find a free port").because(&e))
}

/// Returns 32 hexadecimal digits that nobody can guess.
pub(super) fn random_word() -> Result<String> {
    use std::io::Read;
    let source = Path::new("/dev/urandom");
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::io("read", source, &e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::postmaster::{collect_cluster, is_gone_or_zombie};
    use crate::postgres::{Access, Session};

    fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create("t1", folder.path()).unwrap();
        (folder, ledger)
    }

    #[tokio::test]
    async fn a_cluster_serves_by_socket_and_leaves_nothing() {
        let (_folder, ledger) = ledger();
        let cluster = Cluster::start(&ClusterOptions::default(), &ledger).await.unwrap();
        let session = Session::open(&cluster.address("postgres"), Access::Writable).await.unwrap();
        let row = session.client().query_one("show fsync", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "off");
        assert_eq!(cluster.folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let (folder, server) = (cluster.folder().to_owned(), server_of(cluster.folder()).unwrap());
        cluster.remove().await.unwrap();
        assert!(!folder.exists() && is_gone_or_zombie(server));
        assert!(ledger.remaining().is_empty());
    }

    #[tokio::test]
    async fn a_cluster_takes_tcp_only_when_it_was_asked_to_and_only_with_the_password() {
        let (_folder, ledger) = ledger();
        let options = ClusterOptions { port: Some(0), ..ClusterOptions::default() };
        let cluster = Cluster::start(&options, &ledger).await.unwrap();
        let address = cluster.tcp_address("postgres").unwrap();
        assert!(Session::open(&address, Access::ReadOnly).await.is_ok());
        let stranger = Address::new(address.host().clone(), address.port(), "postgres", None, "postgres");
        assert!(Session::open(&stranger, Access::ReadOnly).await.is_err());
        assert!(ledger.drain().await.is_empty());
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_says_why_and_is_removed() {
        let (_folder, ledger) = ledger();
        let settings = vec![("max_connections".to_owned(), "many".to_owned())];
        let error = Cluster::start(&ClusterOptions { settings, port: None }, &ledger).await.err().unwrap();
        assert!(error.to_string().contains("invalid value for parameter \"max_connections\""), "{error}");
        assert!(ledger.remaining().is_empty());
    }

    #[tokio::test]
    async fn a_dead_runs_cluster_is_stopped_and_removed_from_the_journal_alone() {
        let (_folder, ledger) = ledger();
        let cluster = Cluster::start(&ClusterOptions::default(), &ledger).await.unwrap();
        let record = ledger.remaining().remove(0);
        let folder = cluster.folder().to_owned();
        collect_cluster(&record).await.unwrap();
        assert!(!folder.exists());
        collect_cluster(&record).await.unwrap(); // absence is fine
        assert!(ledger.drain().await.is_empty());
        let foreign = Record::new(KIND, "x", "").fact("folder", "/var/lib/postgresql");
        assert!(collect_cluster(&foreign).await.is_err());
    }

    /// The guard must end the server when nobody closes anything in an orderly way: the kernel closes our pipe.
    #[tokio::test]
    async fn the_server_ends_when_our_end_of_the_pipe_does() {
        let (_folder, ledger) = ledger();
        let making = Making {
            bin: programs().unwrap(),
            folder: new_folder("t2", true),
            user: server_user().unwrap(),
            password: Secret::new(random_word().unwrap()),
            options: ClusterOptions::default(),
        };
        let folder = making.folder.clone();
        let server = Mutex::new(None);
        making.run(&server).await.unwrap();
        let pid = server_of(&folder).unwrap();
        let server = server.into_inner().unwrap().unwrap().without_pipe();
        let deadline = Instant::now() + READY_LIMIT;
        while !is_gone_or_zombie(pid) {
            assert!(Instant::now() < deadline, "the server still runs");
            tokio::time::sleep(POLL).await;
        }
        drop((server, ledger));
        remove_cluster(&folder).await.unwrap();
    }
}
