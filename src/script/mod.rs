//! The border to Rhai: reading arguments and option maps, values to and from scripts, raising errors.

mod options;
mod raise;
mod suggest;
mod time;
mod unknown;
mod values;

pub use options::{Options, duration};
pub use raise::{Raise, Raised, thrown};
pub use suggest::{did_you_mean, nearest};
pub use time::{Span, Time, register as register_time};
pub use unknown::Unknown;
pub use values::{from_json, show, to_json, type_word};
