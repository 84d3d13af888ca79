//! Images: used when they are there, else pulled, else asked for.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::Engine;
use super::engine::{failed, is_absent};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;

impl Engine {
    /// Returns whether the Engine has the image.
    pub async fn has_image(&self, image: &str) -> Result<bool> {
        match self.api().await?.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(failed(format!("could not look for image {image}"), &e).on(image)),
        }
    }

    /// Makes sure that the Engine has the image.
    pub async fn ensure_image(&self, image: &str, progress: &Progress) -> Result<()> {
        if self.has_image(image).await? { Ok(()) } else { pull(self, image, progress).await }
    }
}

async fn pull(engine: &Engine, image: &str, progress: &Progress) -> Result<()> {
    let (name, tag) = split(image);
    let mut options = CreateImageOptionsBuilder::new().from_image(name);
    if let Some(tag) = tag {
        options = options.tag(tag);
    }
    let mut layers = Layers::default();
    let mut events = engine.api().await?.create_image(Some(options.build()), None, None);
    while let Some(event) = events.next().await {
        let event = event.map_err(|e| not_pulled(failed(format!("could not pull image {image}"), &e), image))?;
        layers.take(&event, progress);
    }
    if engine.has_image(image).await? {
        Ok(())
    } else {
        Err(not_pulled(Error::new(Kind::Docker, format!("image {image} is not there after its pull")), image))
    }
}

fn not_pulled(error: Error, image: &str) -> Error {
    error.on(image).hint(format!(
        "docker pull {image} on a machine that can, then docker save and docker load; or name an image that docker images lists"
    ))
}

/// Splits a reference into name and tag or digest: without a tag the Engine would pull every one.
pub(super) fn split(image: &str) -> (&str, Option<&str>) {
    if image.contains('@') {
        return (image, None);
    }
    let tag_at = image.rfind(':').filter(|&colon| !image[colon..].contains('/'));
    match tag_at {
        Some(colon) => (&image[..colon], Some(&image[colon + 1..])),
        None => (image, Some("latest")),
    }
}

/// How far each layer is; the Engine reports them mixed.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    fn take(&mut self, event: &CreateImageInfo, progress: &Progress) {
        let (Some(id), Some(detail)) = (&event.id, &event.progress_detail) else { return };
        let (Some(now), Some(total)) = (detail.current, detail.total) else { return };
        let (now, total) = (now.max(0).unsigned_abs(), total.max(0).unsigned_abs());
        let (before, size) = self.0.entry(id.clone()).or_default();
        progress.note(now.saturating_sub(*before));
        (*before, *size) = (now.max(*before), total);
        progress.set_total(self.0.values().map(|(_, total)| total).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_port_is_not_a_tag() {
        assert_eq!(split("postgres"), ("postgres", Some("latest")));
        assert_eq!(split("postgres:15"), ("postgres", Some("15")));
        assert_eq!(split("localhost:5000/postgres"), ("localhost:5000/postgres", Some("latest")));
        assert_eq!(split("localhost:5000/postgres:15"), ("localhost:5000/postgres", Some("15")));
        assert_eq!(split("postgres@sha256:ab"), ("postgres@sha256:ab", None));
    }
}
