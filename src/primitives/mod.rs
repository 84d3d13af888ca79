//! The script verbs: one file each, in one ordered catalogue that feeds registration, manual, editor files and plan.

mod call;
mod handles;
mod host;
mod primitive;
mod types;

mod backup;
mod check;
mod check_eq;
mod compare;
mod confirm;
mod database;
mod defer;
mod dump;
mod env;
mod execute;
mod fingerprint;
mod inspect_backup;
mod log;
mod measure;
mod now;
mod parallel;
mod parallel_map;
mod param;
mod postgres;
mod query;
mod query_one;
mod query_value;
mod restore;
mod rows;
mod sandbox;
mod scratch;
mod secret;
mod skip;
mod sleep;
mod slo;
mod sqlite;
mod step;
mod timed;
mod timestamp_name;
mod wait_until;
mod warn;
mod with_sandbox;

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
    // databases
    postgres::POSTGRES,
    sqlite::SQLITE,
    sandbox::SANDBOX,
    with_sandbox::WITH_SANDBOX,
    database::DATABASE,
    scratch::SCRATCH,
    // primitives
    dump::DUMP,
    backup::BACKUP,
    rows::ROWS,
    restore::RESTORE,
    query::QUERY,
    query_one::QUERY_ONE,
    query_value::QUERY_VALUE,
    execute::EXECUTE,
    compare::COMPARE,
    fingerprint::FINGERPRINT,
    inspect_backup::INSPECT_BACKUP,
];

/// Finds a verb by its name.
pub fn find(name: &str) -> Option<&'static Primitive> {
    CATALOGUE.iter().find(|p| p.name == name)
}
