//! The Docker Engine: containers, programs inside them and images, over its API and without helpers.

mod container;
mod create;
mod engine;
mod exec;
mod image;
mod inspection;
mod wait;

pub use container::Container;
pub use create::{ContainerOptions, Made, MountedVolume, Port, collect_container};
pub use engine::Engine;
pub use exec::{Exec, ExecRunning, ExecStdin, ExecStdout, collect_process};
pub use inspection::Inspection;
pub use wait::Wait;

/// The label that carries the run's id.
pub const LABEL_RUN: &str = "runner.run";
/// The label that carries the time of the making.
pub const LABEL_MADE: &str = "runner.made";
