//! Comparing: what a database holds in a form that can be compared, and the verdict on two of them.

mod comparison;
mod fingerprint;
mod row_sum;

pub use comparison::{Change, Comparison, Difference, Ignored, Level, Scope, compare};
pub use fingerprint::{Aspect, Engine, Fingerprint, Item, Table};
pub use row_sum::RowSum;
