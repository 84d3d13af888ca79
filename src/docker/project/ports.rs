//! Ports of a restored project: where they were, where there is room, or where the script says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::PortBinding;

use super::plan::PlannedContainer;
use crate::error::{Error, Kind, Result};

const HOME: &str = "127.0.0.1";

/// Where ports are published.
#[derive(Clone)]
pub enum Ports {
    /// Where they were.
    Same,
    /// On 127.0.0.1, where the Engine finds room.
    Any,
    /// By port inside: `80`, `53/udp` or `web:80`.
    Chosen(BTreeMap<String, u16>),
}

/// Where ports are published, and which wishes of the script were met.
pub(super) struct Publishing<'a> {
    ports: &'a Ports,
    isolated: bool,
    met: BTreeSet<String>,
}

impl<'a> Publishing<'a> {
    pub(super) fn new(ports: Option<&'a Ports>, isolated: bool) -> Self {
        let usual = if isolated { &Ports::Any } else { &Ports::Same };
        Self { ports: ports.unwrap_or(usual), isolated, met: BTreeSet::new() }
    }

    pub(super) fn publish(&mut self, container: &mut PlannedContainer) {
        let host = &mut container.host;
        if matches!(self.ports, Ports::Same) && !self.isolated {
            return;
        }
        let mut inside: Vec<String> = host.port_bindings.iter().flatten().map(|(port, _)| port.clone()).collect();
        if host.publish_all_ports == Some(true) {
            inside.extend(container.config.exposed_ports.iter().flatten().cloned());
        }
        let before = host.port_bindings.take().unwrap_or_default();
        let mut bindings = HashMap::new();
        for port in inside {
            let old = before.get(&port).cloned().flatten().and_then(|all| all.into_iter().next()).unwrap_or_default();
            let wish = self.wish(&container.service, &port);
            let binding = match (self.ports, wish) {
                (_, Some(wish)) => PortBinding { host_port: Some(wish.to_string()), host_ip: self.ip(old.host_ip) },
                (Ports::Same, None) => PortBinding { host_port: old.host_port, host_ip: self.ip(old.host_ip) },
                (Ports::Chosen(_), None) if !self.isolated => old,
                _ => PortBinding { host_port: Some(String::new()), host_ip: Some(HOME.to_owned()) },
            };
            bindings.insert(port, Some(vec![binding]));
        }
        host.publish_all_ports = Some(false);
        host.port_bindings = Some(bindings);
    }

    fn ip(&self, before: Option<String>) -> Option<String> {
        if self.isolated { Some(HOME.to_owned()) } else { before }
    }

    fn wish(&mut self, service: &str, port: &str) -> Option<u16> {
        let Ports::Chosen(wishes) = self.ports else { return None };
        let bare = port.strip_suffix("/tcp").unwrap_or(port);
        let names = [format!("{service}:{bare}"), bare.to_owned()];
        let (name, wish) = names.into_iter().find_map(|name| wishes.get(&name).map(|wish| (name, *wish)))?;
        self.met.insert(name);
        Some(wish)
    }

    pub(super) fn finish(self) -> Result<()> {
        let Ports::Chosen(wishes) = self.ports else { return Ok(()) };
        match wishes.keys().find(|name| !self.met.contains(*name)) {
            None => Ok(()),
            Some(unknown) => {
                Err(Error::new(Kind::Usage, format!("no service that is restored publishes port {unknown}"))
                    .hint("`ports` names ports inside: #{ \"80\": 18080 }, or #{ \"web:80\": 18080 }"))
            }
        }
    }
}
