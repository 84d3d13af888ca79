//! The Docker Engine: containers, programs inside them, images, volumes and services, over its API and without helpers.

mod container;
mod create;
mod engine;
mod exec;
mod image;
mod inspection;
mod services;
mod volume;
mod wait;

pub use container::Container;
pub use create::{ContainerOptions, Made, MountedVolume, Port, collect_container};
pub use engine::Engine;
pub use exec::{Exec, ExecRunning, ExecStdin, ExecStdout, collect_process};
pub use inspection::Inspection;
pub use services::{LABEL_PROJECT, LABEL_SERVICE, Service, services, services_using};
pub use volume::{RestoredVolume, Volume, VolumeOptions, back_up_volume, collect_volume, restore_volume, volumes};
pub use wait::Wait;

/// The label that carries the run's id.
pub const LABEL_RUN: &str = "runner.run";
/// The label that carries the time of the making.
pub const LABEL_MADE: &str = "runner.made";
