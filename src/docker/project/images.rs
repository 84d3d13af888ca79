//! Images of a project: exported into one file, and found again: here, in that file or in their registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bollard::query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::saved::{SavedImage, SavedProject};
use crate::docker::Engine;
use crate::docker::engine::{failed, is_absent};
use crate::docker::image::split;
use crate::docker::transfer::{Incoming, on_thread, patient, receive, send};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::Digest;
use crate::files::member_writer::{MemberWriter, Written};
use crate::files::members::{MemberReader, Packing};
use crate::files::{self, checksums, go_on, shown};
use crate::progress::Progress;

/// The list of images in an export; larger ones are none.
const MOST_LIST: u64 = 8 << 20;

/// The file that holds a project's images.
#[derive(Clone, Serialize, Deserialize)]
pub struct ImageArchive {
    /// Its name.
    pub file: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
    /// The images that it holds.
    pub images: Vec<String>,
}

/// Exports the images of a project, each once, into a new `.tar.gz` that `docker load` reads, and reads it back.
pub async fn export_images(
    engine: &Engine,
    saved: &SavedProject,
    to: &Path,
    progress: &Progress,
) -> Result<ImageArchive> {
    let mut names = Vec::new();
    for image in &saved.images {
        // By its name where that still leads to it, so that the name is in the file; else by its id.
        let same = id_of(engine, &image.reference).await?.as_deref() == Some(&image.id);
        names.push(if same { image.reference.clone() } else { image.id.clone() });
    }
    let api = patient(engine).await?;
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let stream = api.export_images(&asked);
    let broken = |e: &_| failed("could not export the images", e).on(shown(to));
    let path = to.to_owned();
    let pack = move |stream: Incoming, cancel: &CancellationToken| pack(stream, &path, cancel);
    let (sha256, size, file) = receive(stream, broken, progress, pack).await?;
    let (path, count, reading) = (file.path().to_owned(), saved.images.len(), to.to_owned());
    let checked = on_thread(move || check(&path, &reading, count)).await;
    checked?;
    file.commit()?;
    if let Err(error) = checksums::write_sidecar(to, sha256) {
        let _ = std::fs::remove_file(to); // without its checksum it is not whole
        return Err(error);
    }
    let file = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(ImageArchive { file, sha256, size, images: names })
}

fn pack(mut stream: Incoming, to: &Path, cancel: &CancellationToken) -> Result<(Digest, u64, AtomicFile)> {
    let mut out = MemberWriter::new(AtomicFile::create(to)?);
    let mut block = vec![0; files::BLOCK];
    let failed = |e: io::Error| Error::io("write", to, &e);
    loop {
        go_on(cancel, "exporting images")?;
        match stream.read(&mut block).map_err(failed)? {
            0 => break,
            n => out.write_all(&block[..n]).map_err(failed)?,
        }
    }
    let Written { inner, sha256, size, .. } = out.finish().map_err(failed)?;
    Ok((sha256, size, inner))
}

/// Reads an export to its end: every file that its list names must be in it.
fn check(path: &Path, called: &Path, images: usize) -> Result<()> {
    let damaged = |why: String| {
        Error::new(Kind::Damaged, format!("{} does not hold the images", shown(called)))
            .on(shown(called))
            .caused_by(why)
    };
    let (file, _) = files::open(path)?;
    let reader = MemberReader::new(BufReader::with_capacity(files::BLOCK, file), Packing::Gzip, None);
    let mut archive = tar::Archive::new(reader);
    let (mut there, mut list) = (BTreeSet::new(), Value::Null);
    let unreadable = |e: io::Error| damaged(e.to_string());
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(unreadable)?.to_string_lossy().into_owned();
        if name == "manifest.json" {
            let mut text = Vec::new();
            (&mut entry).take(MOST_LIST).read_to_end(&mut text).map_err(unreadable)?;
            list = serde_json::from_slice(&text).map_err(|e| damaged(format!("its list cannot be read: {e}")))?;
        }
        there.insert(name);
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let listed = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if listed.len() < images {
        return Err(damaged(format!("it holds {} of {images} images", listed.len())));
    }
    let parts = listed.iter().flat_map(|image| {
        let layers = image["Layers"].as_array().into_iter().flatten();
        layers.chain([&image["Config"]]).filter_map(Value::as_str)
    });
    match parts.into_iter().find(|part| !there.contains(*part)) {
        Some(absent) => Err(damaged(format!("{absent} is not in it"))),
        None => Ok(()),
    }
}

/// Makes sure that the images are there, and returns by which name or id each container is made.
pub(super) async fn ensure_images(
    engine: &Engine,
    images: &[SavedImage],
    archive: Option<&Path>,
    known: Option<&ImageArchive>,
    notes: &mut Vec<String>,
    progress: &Progress,
) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut loaded = false;
    for image in images {
        if !engine.has_image(&image.id).await?
            && let (Some(archive), false) = (archive, loaded)
        {
            load(engine, archive, known, images, progress).await?;
            loaded = true;
        }
        found.insert(image.id.clone(), find(engine, image, archive, notes, progress).await?);
    }
    Ok(found)
}

async fn find(
    engine: &Engine,
    image: &SavedImage,
    archive: Option<&Path>,
    notes: &mut Vec<String>,
    progress: &Progress,
) -> Result<String> {
    let SavedImage { reference, id, repo_digests } = image;
    if engine.has_image(id).await? {
        let same = id_of(engine, reference).await?.as_deref() == Some(id);
        return Ok(if same { reference.clone() } else { id.clone() });
    }
    for exact in repo_digests {
        if engine.ensure_image(exact, progress).await.is_ok() {
            return Ok(exact.clone());
        }
    }
    let pulled = engine.ensure_image(reference, progress).await;
    match pulled {
        Ok(()) => {
            notes.push(format!("image {reference} is not the one that was saved: the name leads to another one now"));
            Ok(reference.clone())
        }
        Err(error) => {
            let place = archive.map_or("it was not saved".into(), |archive| format!("it is not in {}", shown(archive)));
            Err(Error::new(Kind::Missing, format!("image {reference} is not there, {place}, and it could not be pulled"))
                .on(&**reference)
                .caused_by_error(error)
                .hint("pass images: the file that save_services wrote with its option `images`, or let the Engine reach the registry"))
        }
    }
}

/// Loads an export after its digest was checked. Names that led to other images lead there afterwards as well.
async fn load(
    engine: &Engine,
    archive: &Path,
    known: Option<&ImageArchive>,
    images: &[SavedImage],
    progress: &Progress,
) -> Result<()> {
    let mut before = Vec::new();
    for image in images {
        if let Some(id) = id_of(engine, &image.reference).await? {
            before.push((image.reference.as_str(), id));
        }
    }
    let expected = known.map(|known| known.sha256);
    let (path, cancel) = (archive.to_owned(), CancellationToken::new());
    let ends_with_us = cancel.clone().drop_guard();
    on_thread(move || verify(&path, expected, &cancel)).await?;
    drop(ends_with_us);
    let (path, progress) = (archive.to_owned(), progress.clone());
    let (stream, sent) = send(move |take, cancel| unpack(&path, take, &progress, cancel));
    let api = patient(engine).await?;
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let mut events = api.import_image(options, bollard::body_try_stream(stream), None);
    let mut answer = Ok(());
    while let Some(event) = events.next().await {
        if let Err(e) = event {
            answer = Err(e);
            break;
        }
    }
    drop(events);
    let broken = |e: &_| failed(format!("could not load the images of {}", shown(archive)), e).on(shown(archive));
    sent.end(answer, broken).await?;
    for (reference, id) in before {
        if id_of(engine, reference).await?.as_deref() != Some(&id) {
            tag(engine, &id, reference).await?;
        }
    }
    Ok(())
}

/// Checks a file of images against the digest that the project's file gives, or against the one beside it.
fn verify(archive: &Path, expected: Option<Digest>, cancel: &CancellationToken) -> Result<()> {
    let expected = match expected {
        Some(expected) => expected,
        None => checksums::read_sidecar(archive)?,
    };
    let found = Digest::of_file(archive, &Progress::default(), cancel)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::new(Kind::Damaged, format!("{} is not the file of images that was saved", shown(archive)))
        .on(shown(archive))
        .caused_by(format!("its SHA-256 is {found}, not {expected}"))
        .hint("take another copy; nothing was loaded"))
}

fn unpack(
    archive: &Path,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<()> {
    let (file, _) = files::open(archive)?;
    let mut reader = MemberReader::new(BufReader::with_capacity(files::BLOCK, file), Packing::Gzip, None);
    let mut block = vec![0; files::BLOCK];
    loop {
        go_on(cancel, "loading images")?;
        match reader.read(&mut block).map_err(|e| Error::io("read", archive, &e))? {
            0 => return Ok(()),
            n => {
                take(&block[..n])?;
                progress.add(n as u64);
            }
        }
    }
}

async fn id_of(engine: &Engine, reference: &str) -> Result<Option<String>> {
    match engine.api().await?.inspect_image(reference).await {
        Ok(seen) => Ok(seen.id),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(failed(format!("could not look for image {reference}"), &e).on(reference)),
    }
}

async fn tag(engine: &Engine, id: &str, reference: &str) -> Result<()> {
    let (Some(tag), name) = (split(reference).1, split(reference).0) else { return Ok(()) };
    let options = TagImageOptionsBuilder::new().repo(name).tag(tag).build();
    let tagged = engine.api().await?.tag_image(id, Some(options)).await;
    tagged.map_err(|e| failed(format!("could not give image {id} its name {reference} back"), &e).on(reference))
}

/// Returns where the images of a project go: a file, or a file of a usual name in a folder.
pub fn images_path(project: &str, to: &Path) -> PathBuf {
    let name = to.to_string_lossy();
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        to.to_owned()
    } else {
        to.join(format!("{project}_images.tar.gz"))
    }
}
