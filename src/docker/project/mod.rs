//! A Compose project in a file: written down from its containers, and made again on an Engine that has none of it.

mod images;
mod isolate;
mod mounts;
mod plan;
mod ports;
mod rebuild;
mod save;
mod saved;

pub(super) use images::ImageArchive;
pub use images::{export_images, images_path};
pub use mounts::Binds;
pub use plan::{Plan, ProjectOptions};
pub use ports::Ports;
pub use rebuild::{Making, Rebuilt, rebuild, refuse_taken_project};
pub use save::save_project;
pub use saved::SavedProject;
