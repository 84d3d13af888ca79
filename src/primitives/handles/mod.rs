//! The values of scripts that stand for things: what a verb returned, with its properties.

mod container;
mod verification;

use rhai::Engine;

pub use container::Container;
pub use verification::Verification;

/// Teaches an engine the handles.
pub(super) fn register(engine: &mut Engine) {
    container::register(engine);
    verification::register(engine);
}
