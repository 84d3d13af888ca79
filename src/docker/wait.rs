//! When a container is ready: one condition with a deadline, never a nap.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Container;
use super::engine::failed;
use crate::cleanup::Ledger;
use crate::error::{Error, Kind, Result};

const POLL: Duration = Duration::from_millis(75);
/// Docker's port proxy accepts before the program listens, and hangs up soon when there is nobody behind it: on a machine
/// with much to do not at once.
const HANG_UP: Duration = Duration::from_secs(1);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A condition on a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A published port takes connections.
    Port(u16),
    /// The log holds this text.
    Log(String),
    /// A program inside ends with status 0.
    Exec(Vec<String>),
    /// The image's own health check passes.
    Healthy,
}

impl Wait {
    /// Waits for all conditions, for at most `limit` in all. A container that ends meanwhile is an error at once.
    pub async fn all(waits: &[Wait], container: &Container, limit: Duration, ledger: &Arc<Ledger>) -> Result<()> {
        let mut pending = "start";
        let conditions = async {
            for wait in waits {
                pending = wait.word();
                wait.met(container, ledger).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(limit, conditions).await {
            Ok(done) => done,
            Err(_) => Err(late(container, pending, limit).await),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Wait::Port(_) => "its port",
            Wait::Log(_) => "its log line",
            Wait::Exec(_) => "its command",
            Wait::Healthy => "its health check",
        }
    }

    async fn met(&self, container: &Container, ledger: &Arc<Ledger>) -> Result<()> {
        if let Wait::Log(text) = self {
            return logged(container, text).await;
        }
        loop {
            let seen = container.inspect_running().await?;
            let met = match self {
                Wait::Port(port) => {
                    // At its own address nobody stands between: a connection is the program's answer.
                    let own = seen.address().filter(|_| container.engine().shares_our_network());
                    let own = own.map(|ip| (ip, *port).into());
                    match (own, seen.published(*port)) {
                        (None, None) => return Err(unpublished(container, *port)),
                        (Some(own), published) => accepts(own).await || may_listen(published).await,
                        (None, published) => may_listen(published).await,
                    }
                }
                Wait::Exec(argv) => match container.exec(argv).output(ledger).await {
                    Ok(_) => true,
                    Err(e) if e.child_exit_code().is_some() => false,
                    Err(e) => {
                        container.inspect_running().await?; // one that ended since we looked is told as ended
                        return Err(e);
                    }
                },
                Wait::Healthy => seen.healthy.ok_or_else(|| no_health_check(container))?,
                Wait::Log(_) => true,
            };
            if met {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn accepts(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await, Ok(Ok(_)))
}

async fn may_listen(address: Option<SocketAddr>) -> bool {
    match address {
        Some(address) => listens(address).await,
        None => false,
    }
}

async fn listens(address: SocketAddr) -> bool {
    let connected = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
    let Ok(Ok(mut stream)) = connected else { return false };
    let mut byte = [0];
    match tokio::time::timeout(HANG_UP, stream.read(&mut byte)).await {
        Ok(Ok(read)) => read > 0,
        Ok(Err(_)) => false,
        Err(_) => true, // still open and silent: a server that waits for us to speak
    }
}

/// Follows the log until `text` comes. Lines may be cut between two pieces, so the end of the last one is kept.
async fn logged(container: &Container, text: &str) -> Result<()> {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).build();
    let mut log = container.engine().api().await?.logs(container.id(), Some(options));
    let mut kept = Vec::new();
    while let Some(piece) = log.next().await {
        let piece =
            piece.map_err(|e| failed(format!("could not read the log of container {}", container.name()), &e))?;
        kept.extend_from_slice(piece.as_ref());
        if memchr::memmem::find(&kept, text.as_bytes()).is_some() {
            return Ok(());
        }
        kept.drain(..kept.len().saturating_sub(text.len()));
    }
    container.inspect_running().await?;
    Err(Error::new(Kind::Docker, format!("the log of container {} ended without \"{text}\"", container.name()))
        .on(container.name()))
}

fn unpublished(container: &Container, port: u16) -> Error {
    Error::new(Kind::Usage, format!("container {} does not publish port {port}", container.name()))
        .on(container.name())
        .hint("add the port to `ports`")
}

fn no_health_check(container: &Container) -> Error {
    Error::new(Kind::Usage, format!("the image of container {} has no health check", container.name()))
        .on(container.name())
        .hint("wait for a port, a log line or a command instead")
}

async fn late(container: &Container, pending: &str, limit: Duration) -> Error {
    let log = container.log_tail().await.unwrap_or_default(); // the deadline is the news
    let sentence = format!("container {} was not ready after {} seconds", container.name(), limit.as_secs());
    Error::new(Kind::Timeout, sentence)
        .caused_by(format!("it still waited for {pending}"))
        .on(container.name())
        .stderr(log)
        .hint("look at the log lines below, or give it more time")
}
