//! Collecting what killed runs left behind: by the ledger of each dead run, and never by label or name alone.

use std::path::Path;

use crate::cleanup::{self, Leftover, Record, Sought};
use crate::docker::{Engine, collect_container, collect_network, collect_process, collect_volume};
use crate::error::{Error, Kind, Result};
use crate::files::{temp_folder, unfinished};
use crate::postgres::{collect_cluster, collect_database, collect_scratch};
use crate::run::runs_folder;

/// What a collection did.
#[derive(Default)]
pub struct Collected {
    /// What was removed.
    pub removed: Vec<Record>,
    /// What is still there.
    pub left: Vec<Leftover>,
}

/// Returns what runs that ended left.
pub fn abandoned(state_dir: &Path, sought: Sought) -> Result<Vec<Record>> {
    let runs = cleanup::abandoned(&runs_folder(state_dir), sought)?;
    Ok(runs.into_iter().flat_map(|run| run.records).collect())
}

/// Removes what runs that ended left.
///
/// # Errors
/// When the state folder cannot be read; what cannot be removed is in the result.
pub async fn collect(state_dir: &Path, sought: Sought) -> Result<Collected> {
    let mut collected = Collected::default();
    let engine = Engine::default();
    for run in cleanup::abandoned(&runs_folder(state_dir), sought)? {
        let before = collected.left.len();
        for record in &run.records {
            match remove(&engine, record).await {
                Ok(()) => collected.removed.push(record.clone()),
                Err(error) => collected.left.push(Leftover { record: record.clone(), error }),
            }
        }
        if collected.left.len() == before {
            run.all_removed()?;
        }
    }
    Ok(collected)
}

async fn remove(engine: &Engine, record: &Record) -> Result<()> {
    match record.kind.as_str() {
        "container" => collect_container(engine, record).await,
        "volume" => collect_volume(engine, record).await,
        "network" => collect_network(engine, record).await,
        "process" => collect_process(engine, record).await,
        "cluster" => collect_cluster(record).await,
        "database" => collect_database(record).await,
        "scratch database" => collect_scratch(record).await,
        unfinished::KIND => unfinished::collect(record).await,
        temp_folder::KIND => temp_folder::collect(record).await,
        other => Err(Error::new(Kind::Usage, format!("this version does not know how to remove a {other}"))),
    }
}
