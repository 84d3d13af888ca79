//! Comparing: what a database holds in a form that can be compared, and the verdict on two of them.

mod comparison;
mod fingerprint;
mod hashed;
mod integrity;
mod lawful;
mod level;
mod row_sum;
pub mod rows;
mod summary;
mod verified;

pub use comparison::{Change, Comparison, Difference, Ignored, Scope, compare};
pub use fingerprint::{Aspect, Engine, Fingerprint, Item, Table, View};
pub use hashed::{Hashed, Hashing};
pub use integrity::{Integrity, Problem};
pub use lawful::Lawful;
pub use level::Level;
pub use row_sum::RowSum;
pub use verified::{Extent, Verified};
