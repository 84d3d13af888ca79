//! A sandbox: a throwaway server that this run made, in a container or as a private cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{self, Cluster, ClusterOptions, random_word};
use super::{Access, Address, DEFAULT_PORT, Host, Session, TlsMode};
use crate::cleanup::Ledger;
use crate::docker::{Container, ContainerOptions, Engine, Made, Port};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::secret::Secret;

const SUPERUSER: &str = "postgres";
const DEFAULT_IMAGE: &str = "postgres:15";
const DEFAULT_MEMORY: u64 = 2 << 30;
/// Parallel queries and index builds share memory here; Docker's own 64 MiB end large ones.
const SHARED_MEMORY: u64 = 256 << 20;
const START_LIMIT: Duration = Duration::from_secs(120);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// Who makes the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Docker where it can, else the local programs.
    #[default]
    Auto,
    /// A container.
    Docker,
    /// A private cluster of the local PostgreSQL.
    Local,
}

impl Provider {
    /// Finds a provider by the word that scripts use.
    pub fn from_word(word: &str) -> Option<Self> {
        [("auto", Self::Auto), ("docker", Self::Docker), ("local", Self::Local)]
            .into_iter()
            .find(|(known, _)| *known == word)
            .map(|(_, provider)| provider)
    }
}

/// What a sandbox shall be.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Who makes it.
    pub provider: Provider,
    /// The image of a container: the official one, or one that keeps its contract.
    pub image: String,
    /// The container's name; made from the run's id when there is none.
    pub name: Option<String>,
    /// The port on 127.0.0.1; chosen by the system when there is none.
    pub port: Option<u16>,
    /// The container's memory in bytes.
    pub memory: u64,
    /// The container's processors.
    pub cpus: Option<f64>,
    /// Settings on top of those of a throwaway server.
    pub settings: Vec<(String, String)>,
    /// How long the server may take to answer.
    pub start_limit: Duration,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            provider: Provider::Auto,
            image: DEFAULT_IMAGE.to_owned(),
            name: None,
            port: None,
            memory: DEFAULT_MEMORY,
            cpus: None,
            settings: Vec::new(),
            start_limit: START_LIMIT,
        }
    }
}

/// A throwaway server. What is in it is nobody's but this run's.
pub struct Sandbox {
    server: Server,
    password: Secret,
}

enum Server {
    Docker { made: Made, image: String, place: SocketAddr },
    Local(Cluster),
}

/// How to reach and to remove a sandbox that outlives its run.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The command that connects.
    pub connect: String,
    /// The command that removes it.
    pub remove: String,
}

impl Sandbox {
    /// Makes a server and waits until it answers.
    pub async fn start(
        options: &SandboxOptions,
        engine: &Engine,
        ledger: &Arc<Ledger>,
        progress: &Progress,
    ) -> Result<Self> {
        match options.provider {
            Provider::Docker => in_docker(options, engine, ledger, progress).await,
            Provider::Local => locally(options, ledger).await,
            // Only what Docker lacks sends us elsewhere: a container that fails is news, not a reason to hide it.
            Provider::Auto => match docker_can(options, engine, progress).await {
                Ok(()) => in_docker(options, engine, ledger, progress).await,
                Err(without) if cluster::is_possible() => {
                    locally(options, ledger).await.map_err(|e| e.caused_by(format!("and with Docker: {without}")))
                }
                Err(without) => Err(no_provider(&without)),
            },
        }
    }

    /// Returns the superuser's address of one of its databases.
    pub fn address(&self, database: &str) -> Address {
        match &self.server {
            Server::Docker { made, place, .. } => {
                address(*place, &self.password, database).in_container(made.container().id())
            }
            Server::Local(cluster) => cluster.address(database),
        }
    }

    /// Returns the address by TCP on this machine, for programs that know no sockets; a local cluster has one only when
    /// a port was asked for.
    pub fn tcp_address(&self, database: &str) -> Option<Address> {
        match &self.server {
            Server::Docker { .. } => Some(self.address(database)),
            Server::Local(cluster) => cluster.tcp_address(database),
        }
    }

    /// Says what it is, for instance `postgres:15 in container runner-x`.
    pub fn describe(&self) -> String {
        match &self.server {
            Server::Docker { made, image, .. } => format!("{image} in container {}", made.container().name()),
            Server::Local(cluster) => cluster.describe(),
        }
    }

    /// Returns the container, where it is one.
    pub fn container(&self) -> Option<&Container> {
        match &self.server {
            Server::Docker { made, .. } => Some(made.container()),
            Server::Local(_) => None,
        }
    }

    /// Removes it now.
    pub async fn remove(self) -> Result<()> {
        match self.server {
            Server::Docker { made, .. } => made.remove().await,
            Server::Local(cluster) => cluster.remove().await,
        }
    }

    /// Leaves it to the user.
    pub async fn keep(self) -> Result<Kept> {
        match self.server {
            Server::Docker { made, .. } => {
                let container = made.keep()?;
                let name = container.name();
                Ok(Kept {
                    connect: format!("docker exec -it {name} psql -U {SUPERUSER}"),
                    remove: format!("docker rm -fv {name}"),
                })
            }
            Server::Local(cluster) => cluster.keep().await.map(|(connect, remove)| Kept { connect, remove }),
        }
    }
}

fn address(place: SocketAddr, password: &Secret, database: &str) -> Address {
    Address::new(Host::Name(place.ip().to_string()), place.port(), SUPERUSER, Some(password.clone()), database)
        .with_tls(TlsMode::Disable)
}

async fn locally(options: &SandboxOptions, ledger: &Arc<Ledger>) -> Result<Sandbox> {
    let wanted = ClusterOptions { port: options.port, settings: options.settings.clone() };
    let cluster = Cluster::start(&wanted, ledger).await?;
    Ok(Sandbox { password: cluster.password().clone(), server: Server::Local(cluster) })
}

async fn docker_can(options: &SandboxOptions, engine: &Engine, progress: &Progress) -> Result<()> {
    engine.describe().await?;
    engine.ensure_image(&options.image, progress).await
}

fn no_provider(docker: &Error) -> Error {
    Error::new(Kind::Missing, "could not make a sandbox: neither Docker nor a local PostgreSQL can")
        .caused_by(docker.to_string())
        .caused_by("there is no PostgreSQL server on this machine")
        .hint("start Docker with the image at hand, or install PostgreSQL (Debian: apt-get install postgresql)")
}

async fn in_docker(
    options: &SandboxOptions,
    engine: &Engine,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<Sandbox> {
    let password = Secret::new(random_word()?);
    let made = container(options, &password).start(engine, ledger, progress).await?;
    match ready(made.container(), &password, options.start_limit).await {
        Ok(place) => Ok(Sandbox { server: Server::Docker { made, image: options.image.clone(), place }, password }),
        Err(error) => {
            let _ = made.remove().await; // a removal that failed is reported by the final drain
            Err(error)
        }
    }
}

fn container(options: &SandboxOptions, password: &Secret) -> ContainerOptions {
    let settings = cluster::THROWAWAY.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = settings.chain(options.settings.clone());
    let flags = settings.flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    ContainerOptions {
        image: options.image.clone(),
        name: options.name.clone(),
        // Whoever may inspect our container may also enter it, so this password hides nothing from them.
        env: vec![
            ("POSTGRES_USER".into(), SUPERUSER.into()),
            ("POSTGRES_PASSWORD".into(), password.expose().into()),
            ("POSTGRES_INITDB_ARGS".into(), "--no-sync".into()),
            // Without it initdb compares the clock with every time zone there is, which took three of its four seconds
            // where each file comes through FUSE.
            ("TZ".into(), "UTC".into()),
        ],
        ports: vec![Port { container: DEFAULT_PORT, host: options.port }],
        memory: Some(options.memory),
        cpus: options.cpus,
        shared_memory: Some(SHARED_MEMORY),
        command: ["postgres".to_owned()].into_iter().chain(flags).collect(),
        ..ContainerOptions::default()
    }
}

/// Waits until the server answers a query over TCP and returns where. Its log would lie: the official image first
/// runs a server for its own set-up, on the socket alone.
async fn ready(container: &Container, password: &Secret, limit: Duration) -> Result<SocketAddr> {
    let answers = async {
        loop {
            let seen = container.inspect_running().await?;
            let own = seen.address().filter(|_| container.engine().shares_our_network());
            let own = own.map(|ip| SocketAddr::new(ip, DEFAULT_PORT)); // without Docker's proxy in between
            for place in own.into_iter().chain(seen.published(DEFAULT_PORT)) {
                if answers(place, password).await {
                    return Ok(place);
                }
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(limit, answers).await {
        Ok(place) => place,
        Err(_) => {
            let sentence = format!("PostgreSQL in container {} did not answer", container.name());
            Err(Error::new(Kind::Timeout, sentence)
                .on(container.name())
                .caused_by(format!("{} seconds passed", limit.as_secs()))
                .stderr(container.log_tail().await.unwrap_or_default()) // the deadline is the news
                .hint("look at the log lines below"))
        }
    }
}

async fn answers(place: SocketAddr, password: &Secret) -> bool {
    let attempt = async {
        let session = Session::open(&address(place, password, "postgres"), Access::ReadOnly).await?;
        session.alive().await
    };
    matches!(tokio::time::timeout(ATTEMPT_LIMIT, attempt).await, Ok(Ok(())))
}
