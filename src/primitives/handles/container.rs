//! `Container`: a handle to one container, made by this run or found.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rhai::{Engine, EvalAltResult};

use crate::docker;
use crate::error::{Error, Kind, Result};
use crate::primitives::call::wait;
use crate::run::Run;
use crate::script::Raise;

/// A container as scripts see it. It can be asked, but neither changed nor removed.
#[derive(Clone)]
pub(crate) struct Container {
    container: docker::Container,
    run: Arc<Run>,
}

impl Container {
    /// Makes the handle.
    pub(crate) fn new(container: docker::Container, run: &Arc<Run>) -> Self {
        Self { container, run: Arc::clone(run) }
    }

    fn inspect(&self) -> Result<docker::Inspection> {
        wait(&self.run, self.container.inspect())
    }

    /// Returns where a port is reached from this machine.
    fn reached(&self, port: i64) -> Result<SocketAddr> {
        let name = self.container.name();
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| Error::new(Kind::Usage, "a port is a number from 1 to 65535"))?;
        let seen = wait(&self.run, self.container.inspect_running())?;
        let home = seen.host_network.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own = seen.address().filter(|_| self.container.engine().shares_our_network());
        let direct = || home.or(own).map(|ip| SocketAddr::new(ip, port));
        seen.published(port).or_else(direct).ok_or_else(|| {
            Error::new(Kind::Missing, format!("port {port} of container {name} cannot be reached from here"))
                .on(name)
                .hint("publish it: container(#{ ports: [5432], … })")
        })
    }
}

type Got<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Throws an error under the type's name.
fn got<T>(result: Result<T>) -> Got<T> {
    result.map_err(|error| Raise::Ours(error).into_rhai("Container"))
}

/// Teaches an engine the type.
pub(in crate::primitives) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Container>("Container")
        .register_get("name", |c: &mut Container| c.container.name().to_owned())
        .register_get("id", |c: &mut Container| c.container.id().to_owned())
        .register_get("image", |c: &mut Container| got(c.inspect().map(|seen| seen.image)))
        .register_get("running", |c: &mut Container| got(c.inspect().map(|seen| seen.running)))
        .register_get("state", |c: &mut Container| got(c.inspect().map(|seen| seen.state())))
        .register_get("logs", |c: &mut Container| got(wait(&c.run, c.container.log_tail())))
        .register_fn("host", |c: &mut Container, port: i64| got(c.reached(port).map(|a| a.ip().to_string())))
        .register_fn("port", |c: &mut Container, port: i64| got(c.reached(port).map(|a| i64::from(a.port()))))
        .register_fn("address", |c: &mut Container, port: i64| got(c.reached(port).map(|a| a.to_string())))
        .register_fn("to_string", |c: &mut Container| c.to_string())
        .register_fn("to_debug", |c: &mut Container| c.to_string());
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.container.name())
    }
}
