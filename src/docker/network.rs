//! Networks that a run makes: journaled, labelled, removed by their id.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use serde_json::Value;

use super::engine::{failed, is_absent, status};
use super::{Engine, LABEL_OWNED};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::Result;

/// The kind of a network's record in the ledger.
const KIND: &str = "network";

/// Returns every network.
pub(super) async fn networks(engine: &Engine) -> Result<Vec<Network>> {
    let listed = engine.api().await?.list_networks(Some(ListNetworksOptionsBuilder::new().build())).await;
    listed.map_err(|e| failed("could not list the networks", &e))
}

/// Makes a network that goes again unless its ticket is kept. One whose addresses are taken on this machine gets others
/// where `elsewhere` allows it; then the answer is true.
pub(super) async fn make(
    engine: &Engine,
    blueprint: NetworkCreateRequest,
    elsewhere: bool,
    ledger: &Arc<Ledger>,
) -> Result<(bool, Ticket)> {
    let (name, run) = (blueprint.name.clone(), ledger.run().to_owned());
    let record = Record::new(KIND, &name, format!("docker network rm {name}")).fact("run", &*run);
    let making = {
        let (engine, name, run) = (engine.clone(), name.clone(), run.clone());
        async move {
            let mut blueprint = blueprint;
            blueprint.labels.get_or_insert_default().insert(LABEL_OWNED.to_owned(), run);
            let api = engine.api().await?;
            let made = api.create_network(blueprint.clone()).await;
            let (made, moved) = match made {
                // 403, later 409: another network has these addresses.
                Err(e) if elsewhere && blueprint.ipam.is_some() && matches!(status(&e), Some(403 | 409)) => {
                    blueprint.ipam = None;
                    (api.create_network(blueprint).await, true)
                }
                made => (made, false),
            };
            made.map_err(|e| failed(format!("could not make network {name}"), &e).on(&*name))?;
            Ok(moved)
        }
    };
    let undo = {
        let engine = engine.clone();
        move || async move { remove_ours(&engine, &run, &name).await }
    };
    ledger.make(record, making, undo).await
}

/// Removes the network of a dead run. One that has the name but not the run's label is someone else's.
pub async fn collect_network(engine: &Engine, record: &Record) -> Result<()> {
    let run = record.facts.get("run").and_then(Value::as_str).unwrap_or_default();
    remove_ours(engine, run, &record.name).await
}

async fn remove_ours(engine: &Engine, run: &str, name: &str) -> Result<()> {
    let filters = HashMap::from([("label", vec![format!("{LABEL_OWNED}={run}")])]);
    let api = engine.api().await?;
    let listed = api.list_networks(Some(ListNetworksOptionsBuilder::new().filters(&filters).build())).await;
    let listed = listed.map_err(|e| failed("could not list the networks", &e))?;
    for network in listed.into_iter().filter(|network| network.name.as_deref() == Some(name)) {
        match api.remove_network(network.id.as_deref().unwrap_or(name)).await {
            Err(e) if !is_absent(&e) => {
                return Err(failed(format!("could not remove network {name}"), &e)
                    .on(name)
                    .hint(format!("docker network inspect {name} lists the containers in it")));
            }
            _ => {}
        }
    }
    Ok(())
}
