//! The Docker Engine: containers, programs inside them, images, volumes and services, over its API and without helpers.

mod container;
mod create;
mod engine;
mod exec;
mod image;
mod inspection;
mod network;
mod project;
mod services;
mod transfer;
mod volume;
mod wait;

pub use container::Container;
pub use create::{ContainerOptions, Made, MountedVolume, Port, collect_container};
pub use engine::Engine;
pub use exec::{Exec, ExecRunning, ExecStdin, ExecStdout, collect_process};
pub use inspection::Inspection;
pub use network::collect_network;
pub use project::{
    Binds, Making, Plan, Ports, ProjectOptions, Rebuilt, SavedProject, export_images, images_path, rebuild,
    refuse_taken_project, save_project,
};
pub use services::{LABEL_PROJECT, LABEL_SERVICE, Service, again, services, services_using, start_and_wait};
pub use volume::{RestoredVolume, Volume, VolumeOptions, back_up_volume, collect_volume, restore_volume, volumes};
pub use wait::Wait;

/// The label that carries the run's id.
pub const LABEL_RUN: &str = "runner.run";
/// The label that carries the time of the making.
pub const LABEL_MADE: &str = "runner.made";
/// The label that carries the run's id on networks and volumes. Compose compares all labels of these with its file but for
/// those of `com.docker`, and would tell the operator to make a recovered volume anew.
pub const LABEL_OWNED: &str = "com.docker.runner.run";
