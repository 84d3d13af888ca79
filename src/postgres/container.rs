//! A PostgreSQL in somebody's container: found by its name, asked with what its configuration says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Address, DEFAULT_PORT, Host, TlsMode};
use crate::cleanup::Ledger;
use crate::docker::{Container, Engine, Inspection};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

const REACH_LIMIT: Duration = Duration::from_secs(2);

/// What the caller knows better than the container's configuration.
#[derive(Clone, Default)]
pub struct Overrides {
    /// The role to connect as.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The database.
    pub database: Option<String>,
    /// The port inside the container.
    pub port: Option<u16>,
}

/// Returns the address of the PostgreSQL in the container that has exactly this name.
pub async fn find_postgres_container(
    engine: &Engine,
    name: &str,
    known: &Overrides,
    ledger: &Arc<Ledger>,
) -> Result<Address> {
    let container = Container::find(engine, name).await?;
    let seen = container.inspect_running().await?;
    let port = match (known.port, seen.env("PGPORT")) {
        (Some(port), _) => port,
        (None, Some(port)) => port.parse().map_err(|_| wrong_port(&container, port))?,
        (None, None) => DEFAULT_PORT,
    };
    let place = reach(&container, &seen, port).await?;
    let user = match &known.user {
        Some(user) => user.clone(),
        None => setting(&container, &seen, ["POSTGRES_USER", "POSTGRESQL_USERNAME"], ledger)
            .await?
            .unwrap_or_else(|| "postgres".to_owned()),
    };
    let password = match &known.password {
        Some(password) => Some(password.clone()),
        None => {
            setting(&container, &seen, ["POSTGRES_PASSWORD", "POSTGRESQL_PASSWORD"], ledger).await?.map(Secret::new)
        }
    };
    let database = match &known.database {
        Some(database) => database.clone(),
        None => setting(&container, &seen, ["POSTGRES_DB", "POSTGRESQL_DATABASE"], ledger)
            .await?
            .unwrap_or_else(|| user.clone()), // as the official image does
    };
    let host = Host::Name(place.ip().to_string());
    Ok(Address::new(host, place.port(), &user, password, &database)
        .with_tls(TlsMode::Prefer)
        .in_container(container.id()))
}

/// Returns where the container's port can be reached from here.
async fn reach(container: &Container, seen: &Inspection, port: u16) -> Result<SocketAddr> {
    let own = seen.address().filter(|_| container.engine().shares_our_network()).map(|ip| SocketAddr::new(ip, port));
    let home = seen.host_network.then(|| SocketAddr::from(([127, 0, 0, 1], port)));
    let ways: Vec<SocketAddr> = own.into_iter().chain(home).chain(seen.published(port)).collect();
    for way in &ways {
        if matches!(tokio::time::timeout(REACH_LIMIT, TcpStream::connect(way)).await, Ok(Ok(_))) {
            return Ok(*way);
        }
    }
    let name = container.name();
    let tried = ways.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let error = Error::new(Kind::Network, format!("could not reach port {port} of container {name}")).on(name);
    Err(if tried.is_empty() {
        error.caused_by("it publishes no such port").hint(format!("publish it, for instance with -p 127.0.0.1::{port}"))
    } else {
        error.caused_by(format!("nothing answers at {tried}")).hint(format!("docker logs {name}"))
    })
}

/// Returns what the configuration says, directly or through a file inside the container.
async fn setting(
    container: &Container,
    seen: &Inspection,
    names: [&str; 2],
    ledger: &Arc<Ledger>,
) -> Result<Option<String>> {
    for name in names {
        if let Some(value) = seen.env(name) {
            return Ok(Some(value.to_owned()));
        }
        if let Some(file) = seen.env(&format!("{name}_FILE")) {
            let text = container.exec(["cat", file]).output(ledger).await;
            let text = text.map_err(|e| {
                Error::new(e.kind(), format!("could not read {name}_FILE of container {}", container.name()))
                    .caused_by_error(e)
            })?;
            let text = String::from_utf8_lossy(&text);
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
    Ok(None)
}

fn wrong_port(container: &Container, port: &str) -> Error {
    let sentence = format!("PGPORT of container {} is \"{port}\", which is not a port", container.name());
    Error::new(Kind::Usage, sentence).on(container.name()).hint("say which one with `port`")
}
