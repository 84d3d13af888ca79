//! The script verbs: one file each, in one ordered catalogue that feeds registration, manual, editor files and plan.

mod call;
mod host;
mod primitive;
mod types;

mod check;
mod check_eq;
mod confirm;
mod defer;
mod env;
mod log;
mod measure;
mod now;
mod parallel;
mod parallel_map;
mod param;
mod secret;
mod skip;
mod sleep;
mod slo;
mod step;
mod timed;
mod timestamp_name;
mod wait_until;
mod warn;

pub use call::Call;
pub use host::{Deferred, Host};
pub use param::{Parameter, parameter_of};
pub use primitive::{Effect, Group, Primitive, Signature};
pub use types::{PROPERTIES, TypeNote, property_names, register_types};

/// Every verb, in the order of the manual.
pub const CATALOGUE: &[Primitive] = &[
    // inputs
    param::PARAM,
    env::ENV,
    secret::SECRET,
    // flow
    step::STEP,
    parallel::PARALLEL,
    parallel_map::PARALLEL_MAP,
    defer::DEFER,
    wait_until::WAIT_UNTIL,
    sleep::SLEEP,
    confirm::CONFIRM,
    log::LOG,
    warn::WARN,
    now::NOW,
    timestamp_name::TIMESTAMP_NAME,
    // verdict
    check::CHECK,
    check_eq::CHECK_EQ,
    skip::SKIP,
    timed::TIMED,
    measure::MEASURE,
    slo::SLO,
];

/// Finds a verb by its name.
pub fn find(name: &str) -> Option<&'static Primitive> {
    CATALOGUE.iter().find(|p| p.name == name)
}
