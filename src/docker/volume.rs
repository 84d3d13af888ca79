//! Volumes: listed with who uses them, backed up and restored through a container that never starts.
//!
//! Docker's archive endpoint reads and writes the folder of such a container with owners, modes and links. Nothing runs,
//! and the image is an empty one that we import ourselves, so nothing is pulled. A container that runs is never asked:
//! its programs could swap a folder for a link while the Engine follows it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bollard::errors::Error as ApiError;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::create::is_name;
use super::engine::{failed, is_absent, status};
use super::transfer::{Incoming, on_thread, patient, receive, send};
use super::{ContainerOptions, Engine, LABEL_OWNED, Made, MountedVolume};
use crate::cleanup::{Ledger, Record, Ticket};
use crate::error::{Error, Kind, Result};
use crate::files::archive::Archived;
use crate::files::tar_stream::{self, Checked, Tree};
use crate::progress::Progress;

/// The empty image. It holds no file at all and may stay: the next run uses it again.
const EMPTY_IMAGE: (&str, &str) = ("runner-empty", "1");
/// Where the volume is seen in the container, and the folder that every path in its archive starts with.
const ROOT: &str = "volume";
/// The kind of a volume's record in the ledger.
const KIND: &str = "volume";

/// A volume and who uses it.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The driver that keeps it.
    pub driver: String,
    /// Its labels; Compose writes there whose it is.
    pub labels: BTreeMap<String, String>,
    /// What the driver was told.
    pub options: BTreeMap<String, String>,
    /// The containers that mount it, and whether each runs.
    pub users: Vec<(String, bool)>,
    made: Option<String>,
}

impl Volume {
    /// Returns the containers that run with it.
    pub fn running(&self) -> Vec<&str> {
        self.users.iter().filter(|(_, running)| *running).map(|(name, _)| name.as_str()).collect()
    }

    fn seen(volume: bollard::models::Volume, users: Vec<(String, bool)>) -> Self {
        Self {
            name: volume.name,
            driver: volume.driver,
            labels: volume.labels.into_iter().collect(),
            options: volume.options.into_iter().collect(),
            made: volume.created_at.map(|at| at.to_string()),
            users,
        }
    }

    /// Finds one volume.
    pub async fn find(engine: &Engine, name: &str) -> Result<Self> {
        Self::look(engine, name).await?.ok_or_else(|| {
            Error::new(Kind::Missing, format!("there is no volume {name}"))
                .on(name)
                .hint("docker volume ls lists the volumes")
        })
    }

    async fn look(engine: &Engine, name: &str) -> Result<Option<Self>> {
        refuse_path(name)?;
        match engine.api().await?.inspect_volume(name).await {
            Ok(volume) => Ok(Some(Self::seen(volume, users(engine).await?.remove(name).unwrap_or_default()))),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(failed(format!("could not inspect volume {name}"), &e).on(name)),
        }
    }
}

/// Returns every volume whose name starts with `prefix`, by name.
pub async fn volumes(engine: &Engine, prefix: &str) -> Result<Vec<Volume>> {
    let listed = engine.api().await?.list_volumes(Some(ListVolumesOptionsBuilder::new().build())).await;
    let listed = listed.map_err(|e| failed("could not list the volumes", &e))?;
    let mut users = users(engine).await?;
    // The Engine's own name filter matches parts of names, so it is not used.
    let wanted = listed.volumes.unwrap_or_default().into_iter().filter(|v| v.name.starts_with(prefix));
    let mut found: Vec<_> = wanted.map(|v| (users.remove(&v.name).unwrap_or_default(), v)).collect();
    found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    Ok(found.into_iter().map(|(users, volume)| Volume::seen(volume, users)).collect())
}

/// Returns who mounts which volume.
async fn users(engine: &Engine) -> Result<HashMap<String, Vec<(String, bool)>>> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let listed = engine.api().await?.list_containers(Some(options)).await;
    let listed = listed.map_err(|e| failed("could not list the containers", &e))?;
    let mut users: HashMap<String, Vec<(String, bool)>> = HashMap::new();
    for container in listed {
        let name = container.names.unwrap_or_default().first().map(|n| n.trim_start_matches('/').to_owned());
        let name = name.or(container.id).unwrap_or_default();
        let state = container.state.map(|state| state.to_string()).unwrap_or_default();
        // A paused program holds its files as it left them: half written.
        let running = matches!(state.as_str(), "running" | "restarting" | "paused");
        for volume in container.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name) {
            users.entry(volume).or_default().push((name.clone(), running));
        }
    }
    Ok(users)
}

fn refuse_path(name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("\"{name}\" is not the name of a volume"))
        .hint("only named volumes are read and written, never folders of this machine"))
}

/// Packs a volume into `to`, with its inventory and checksum.
pub async fn back_up_volume(
    engine: &Engine,
    name: &str,
    to: &Path,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<(Volume, Archived)> {
    let volume = Volume::find(engine, name).await?;
    let holder = hold(engine, name, ledger, progress).await?;
    // Mounting a volume that is gone makes a new, empty one: that must not pass for the old.
    if Volume::find(engine, name).await?.made != volume.made {
        return Err(Error::new(Kind::Docker, format!("volume {name} was removed while it was looked at")).on(name));
    }
    let (path, about) = (to.to_owned(), origin(&volume));
    let pack = move |stream: Incoming, cancel: &CancellationToken| {
        tar_stream::pack(stream, ROOT, &path, |tree| about_tree(about, tree), cancel)
    };
    let (archived, _) = read(engine, &holder, name, progress, pack).await?;
    holder.remove().await?;
    Ok((volume, archived))
}

fn origin(volume: &Volume) -> Value {
    json!({ "volume": volume.name, "driver": volume.driver, "labels": volume.labels, "options": volume.options })
}

fn about_tree(mut origin: Value, tree: &Tree) -> Value {
    origin["tree"] = json!(tree.digest);
    origin
}

/// How to restore a volume.
#[derive(Debug, Clone, Default)]
pub struct VolumeOptions {
    /// Takes the place of what the volume holds.
    pub replace: bool,
    /// Makes a new volume that goes with the run.
    pub temporary: bool,
    /// Labels of a new volume, where not those that the archive's inventory gives.
    pub labels: Vec<(String, String)>,
}

/// What a restore did.
#[derive(Debug, Clone)]
pub struct RestoredVolume {
    /// What the volume holds now: read back and compared.
    pub tree: Tree,
    /// Whether the volume was not there before.
    pub new: bool,
}

/// Fills a new or empty volume from an archive, then reads it back and compares every entry.
///
/// The archive is read to its end before anything is touched. A volume that holds something is refused unless it may be
/// replaced, and one that a container runs with always.
pub async fn restore_volume(
    engine: &Engine,
    archive: &Path,
    name: &str,
    options: &VolumeOptions,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<RestoredVolume> {
    refuse_path(name)?;
    let cancel = CancellationToken::new();
    let _ends_with_us = cancel.clone().drop_guard();
    let checked = {
        let (archive, progress, cancel) = (archive.to_owned(), progress.clone(), cancel.clone());
        on_thread(move || tar_stream::check(&archive, ROOT, &progress, &cancel)).await?
    };
    let expected = checked.tree.clone();
    let standing = Volume::look(engine, name).await?;
    if options.temporary && standing.is_some() {
        return Err(Error::new(Kind::Refused, format!("volume {name} exists already"))
            .on(name)
            .hint("what goes with the run must be new: choose another name"));
    }
    let ticket = match &standing {
        None => Some(make(engine, blueprint(name, checked.origin.as_ref(), options), ledger).await?),
        Some(volume) => empty(engine, volume, options.replace, ledger, progress).await?,
    };
    let filled = fill(engine, name, checked, &expected, ledger, progress).await;
    match (filled, ticket) {
        (Ok(()), ticket) => {
            if !options.temporary {
                ticket.map_or(Ok(()), Ticket::keep)?;
            }
            Ok(RestoredVolume { tree: expected, new: standing.is_none() })
        }
        (Err(error), Some(ticket)) => {
            let _ = ticket.remove().await; // a removal that failed is reported by the final drain
            Err(error)
        }
        (Err(error), None) => {
            Err(error.hint(format!("volume {name} was empty and is now half filled: empty it again")))
        }
    }
}

async fn fill(
    engine: &Engine,
    name: &str,
    checked: Checked,
    expected: &Tree,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<()> {
    let holder = hold(engine, name, ledger, progress).await?;
    write(engine, &holder, name, checked, progress).await?;
    let survey = |stream: Incoming, cancel: &CancellationToken| {
        tar_stream::survey(stream, ROOT, Path::new("the restored volume"), cancel)
    };
    let found = read(engine, &holder, name, progress, survey).await?;
    holder.remove().await?;
    if found != *expected {
        return Err(Error::new(Kind::Docker, format!("volume {name} does not hold what the archive holds"))
            .on(name)
            .caused_by(format!(
                "{} entries and {} bytes were expected, {} and {} are there; where both agree, an owner, mode, time or link differs",
                expected.entries, expected.bytes, found.entries, found.bytes
            )));
    }
    Ok(())
}

/// Makes sure that a volume that is there may be filled. One that is replaced is made anew: without a program in a
/// container nothing in it can be removed singly.
async fn empty(
    engine: &Engine,
    volume: &Volume,
    replace: bool,
    ledger: &Arc<Ledger>,
    progress: &Progress,
) -> Result<Option<Ticket>> {
    let name = &volume.name;
    let refused = |why: String| {
        Error::new(Kind::Refused, format!("could not restore into volume {name}")).on(&**name).caused_by(why)
    };
    let running = volume.running();
    if !running.is_empty() {
        let by = running.join(", ");
        return Err(refused(format!("it is in use by {by}")).hint(format!("stop them first: docker stop {by}")));
    }
    if is_empty(engine, name, ledger, progress).await? {
        return Ok(None);
    }
    if !replace {
        return Err(refused("it holds something".into()).hint("restore into a new name, or pass replace: true"));
    }
    if !volume.users.is_empty() {
        let by = volume.users.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
        return Err(refused(format!("it belongs to containers that are there although they do not run: {by}"))
            .hint(format!("remove them first: docker compose rm, or docker rm {by}")));
    }
    let blueprint = VolumeCreateRequest {
        name: Some(name.clone()),
        driver: Some(volume.driver.clone()),
        driver_opts: Some(volume.options.clone().into_iter().collect()),
        labels: Some(volume.labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    };
    remove(engine, name).await?;
    make(engine, blueprint, ledger).await.map(Some)
}

/// Returns what a new volume is to be: as the archive's own was, so that Compose knows it again.
fn blueprint(name: &str, origin: Option<&Value>, options: &VolumeOptions) -> VolumeCreateRequest {
    let map = |key: &str| -> HashMap<String, String> {
        let map = origin.and_then(|o| o.get(key)).and_then(Value::as_object);
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        map.into_iter().flatten().filter_map(text).collect()
    };
    let labels = if options.labels.is_empty() { map("labels") } else { options.labels.iter().cloned().collect() };
    // Options of a driver may name devices and folders of the old host: an archive does not decide over those.
    VolumeCreateRequest { name: Some(name.to_owned()), labels: Some(labels), ..VolumeCreateRequest::default() }
}

/// Makes a volume that goes again unless its ticket is kept.
pub(super) async fn make(engine: &Engine, blueprint: VolumeCreateRequest, ledger: &Arc<Ledger>) -> Result<Ticket> {
    let name = blueprint.name.clone().unwrap_or_default();
    let record = Record::new(KIND, &name, format!("docker volume rm {name}")).fact("run", ledger.run());
    let making = {
        let (engine, name, run) = (engine.clone(), name.clone(), ledger.run().to_owned());
        async move {
            let mut blueprint = blueprint;
            blueprint.labels.get_or_insert_default().insert(LABEL_OWNED.to_owned(), run);
            let made = engine.api().await?.create_volume(blueprint).await;
            made.map(|_| ()).map_err(|e| failed(format!("could not make volume {name}"), &e).on(&*name))
        }
    };
    let undo = {
        let (engine, run) = (engine.clone(), ledger.run().to_owned());
        move || async move { remove_ours(&engine, &run, &name).await }
    };
    Ok(ledger.make(record, making, undo).await?.1)
}

async fn remove(engine: &Engine, name: &str) -> Result<()> {
    let options = RemoveVolumeOptionsBuilder::new().build();
    match engine.api().await?.remove_volume(name, Some(options)).await {
        Ok(()) => Ok(()),
        Err(e) if is_absent(&e) => Ok(()),
        Err(e) if status(&e) == Some(409) => Err(failed(format!("could not remove volume {name}"), &e)
            .on(name)
            .hint(format!("docker ps -a --filter volume={name} lists the containers that hold it"))),
        Err(e) => Err(failed(format!("could not remove volume {name}"), &e).on(name)),
    }
}

/// Removes the volume of a dead run. One that has the name but not the run's label is someone else's.
pub async fn collect_volume(engine: &Engine, record: &Record) -> Result<()> {
    let run = record.facts.get("run").and_then(Value::as_str).unwrap_or_default();
    remove_ours(engine, run, &record.name).await
}

async fn remove_ours(engine: &Engine, run: &str, name: &str) -> Result<()> {
    match Volume::look(engine, name).await? {
        Some(volume) if volume.labels.get(LABEL_OWNED).is_some_and(|label| label == run) => remove(engine, name).await,
        _ => Ok(()),
    }
}

/// Makes the container that holds a volume and never starts.
async fn hold(engine: &Engine, volume: &str, ledger: &Arc<Ledger>, progress: &Progress) -> Result<Made> {
    let (name, tag) = EMPTY_IMAGE;
    let image = format!("{name}:{tag}");
    if !engine.has_image(&image).await? {
        import_empty(engine, &image).await?;
    }
    let mounted = MountedVolume { name: volume.to_owned(), path: format!("/{ROOT}"), read_only: false };
    let options = ContainerOptions {
        image,
        volumes: vec![mounted],
        command: vec!["never started".into()],
        ..ContainerOptions::default()
    };
    options.create(engine, ledger, progress).await
}

async fn import_empty(engine: &Engine, image: &str) -> Result<()> {
    let changes = ["LABEL runner.empty=1 runner.purpose=\"holds volumes while runner reads or writes them\""];
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(EMPTY_IMAGE.0)
        .tag(EMPTY_IMAGE.1)
        .changes(changes.map(str::to_owned).to_vec())
        .build();
    // Two blocks of zeros are an empty tar.
    let body = bollard::body_full(Bytes::from_static(&[0; 1024]));
    let mut events = engine.api().await?.create_image(Some(options), Some(body), None);
    while let Some(event) = events.next().await {
        event.map_err(|e| failed(format!("could not import the empty image {image}"), &e).on(image))?;
    }
    Ok(())
}

async fn is_empty(engine: &Engine, name: &str, ledger: &Arc<Ledger>, progress: &Progress) -> Result<bool> {
    let holder = hold(engine, name, ledger, progress).await?;
    let api = patient(engine).await?;
    let options = DownloadFromContainerOptionsBuilder::new().path(&format!("/{ROOT}")).build();
    let mut stream = api.download_from_container(holder.container().id(), Some(options));
    let mut start = Vec::new();
    // The folder itself is one header; a second one that is not zeros is something in it.
    while start.len() < 1024 {
        match stream.next().await {
            Some(Ok(block)) => start.extend_from_slice(&block),
            Some(Err(e)) => return Err(failed(format!("could not read volume {name}"), &e).on(name)),
            None => break,
        }
    }
    drop(stream);
    holder.remove().await?;
    match start.get(512..1024) {
        Some(second) => Ok(second.iter().all(|byte| *byte == 0)),
        None => Err(Error::new(Kind::Docker, format!("could not read volume {name}")).on(name)),
    }
}

/// Reads a volume as a tar stream and gives it to `work`, which runs on a thread of its own.
async fn read<T: Send + 'static>(
    engine: &Engine,
    holder: &Made,
    name: &str,
    progress: &Progress,
    work: impl FnOnce(Incoming, &CancellationToken) -> Result<T> + Send + 'static,
) -> Result<T> {
    let api = patient(engine).await?;
    let options = DownloadFromContainerOptionsBuilder::new().path(&format!("/{ROOT}")).build();
    let stream = api.download_from_container(holder.container().id(), Some(options));
    let broken = |e: &ApiError| {
        failed(format!("could not read volume {name}"), e)
            .on(name)
            .retryable()
            .hint("a file that grows while it is read ends the reading: stop the services that write to the volume")
    };
    receive(stream, broken, progress, work).await
}

/// Unpacks an archive on a thread of its own and gives its stream to the Engine.
async fn write(engine: &Engine, holder: &Made, name: &str, checked: Checked, progress: &Progress) -> Result<()> {
    let api = patient(engine).await?;
    let progress = progress.clone();
    let (stream, sent) = send(move |take, cancel| checked.send(&progress, cancel, take));
    let options = UploadToContainerOptionsBuilder::new().path("/").no_overwrite_dir_non_dir("true").build();
    let taken = api.upload_to_container(holder.container().id(), Some(options), bollard::body_try_stream(stream)).await;
    sent.end(taken, |e| failed(format!("could not write to volume {name}"), e).on(name)).await
}
