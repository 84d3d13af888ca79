//! The connection to the Docker Engine, opened when something first needs it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;
use tokio::sync::OnceCell;

use crate::error::{Error, Kind, Result};

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// An Engine that does not say its version within this time is not going to serve a drill.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The Docker Engine. Clones share the connection; nothing is opened before the first use.
#[derive(Clone, Default)]
pub struct Engine(Arc<OnceCell<Docker>>);

impl Engine {
    /// Returns the API client, connected and speaking a version that the Engine knows.
    pub(super) async fn api(&self) -> Result<&Docker> {
        self.0.get_or_try_init(connect).await
    }

    /// Returns what answers, for instance `Docker Engine 20.10.24 (API 1.41)`, or an error that says how to get one.
    pub async fn describe(&self) -> Result<String> {
        let api = self.api().await?;
        let version = api.version().await.map_err(|e| failed("could not ask the Docker Engine for its version", &e))?;
        let spoken = api.client_version();
        Ok(format!("Docker Engine {} (API {spoken})", version.version.unwrap_or_else(|| "of unknown version".into())))
    }

    /// Returns whether containers' own addresses can be expected to be reachable from here: an Engine in a virtual
    /// machine or on another host has networks of its own.
    pub fn shares_our_network(&self) -> bool {
        cfg!(target_os = "linux") && host().starts_with("unix://")
    }
}

async fn connect() -> Result<Docker> {
    let host = host();
    // Without TLS support a verified connection would silently become a plain one.
    if host.starts_with("https://") || (host.starts_with("tcp://") && std::env::var_os("DOCKER_TLS_VERIFY").is_some()) {
        return Err(no_engine(&host).caused_by("the Docker Engine over TLS is not supported").hint(
            "forward its socket, for instance with ssh -L /tmp/docker.sock:/var/run/docker.sock HOST, and set DOCKER_HOST",
        ));
    }
    let api = Docker::connect_with_host(&host).map_err(|e| no_engine(&host).because(&e))?;
    let negotiated = tokio::time::timeout(CONNECT_LIMIT, api.negotiate_version()).await;
    negotiated
        .map_err(|_| no_engine(&host).caused_by("no answer within 10 seconds"))?
        .map_err(|e| no_engine(&host).because(&e))
}

/// Returns DOCKER_HOST, else the system's socket, else the socket of a rootless Engine.
fn host() -> String {
    if let Ok(host) = std::env::var("DOCKER_HOST")
        && !host.is_empty()
    {
        return host;
    }
    let rootless = std::env::var("XDG_RUNTIME_DIR").map(|folder| format!("{folder}/docker.sock"));
    match rootless {
        Ok(socket) if !Path::new(DEFAULT_SOCKET).exists() && Path::new(&socket).exists() => format!("unix://{socket}"),
        _ => format!("unix://{DEFAULT_SOCKET}"),
    }
}

fn no_engine(host: &str) -> Error {
    Error::new(Kind::Docker, "could not reach a Docker Engine")
        .on(host)
        .hint("start Docker, or set DOCKER_HOST to an Engine that runs; your user needs access to its socket")
}

/// Makes our error from one of the API's: the Engine's own sentence is the cause.
pub(super) fn failed(what: impl Into<String>, error: &ApiError) -> Error {
    match error {
        ApiError::DockerResponseServerError { status_code: 404, message } => {
            Error::new(Kind::Missing, what).caused_by(message.trim())
        }
        ApiError::DockerResponseServerError { message, .. } => Error::new(Kind::Docker, what).caused_by(message.trim()),
        ApiError::RequestTimeoutError => Error::new(Kind::Timeout, what).caused_by("the Docker Engine did not answer"),
        other => Error::new(Kind::Docker, what).because(other),
    }
}

/// Returns whether the Engine says that the thing is not there.
pub(super) fn is_absent(error: &ApiError) -> bool {
    status(error) == Some(404)
}

/// Returns the status of the Engine's answer.
pub(super) fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
