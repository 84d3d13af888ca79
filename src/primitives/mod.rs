//! The script verbs: one file each, in one ordered catalogue that feeds registration, manual, editor files and plan.

mod call;
mod handles;
mod host;
mod paths;
mod primitive;
#[cfg(test)]
mod tests;
mod types;

mod archive;
mod check;
mod check_eq;
mod checksum;
mod confirm;
mod container;
mod copy;
mod defer;
mod env;
mod exists;
mod extract;
mod file_size;
mod find_container;
mod list_files;
mod log;
mod measure;
mod now;
mod parallel;
mod parallel_map;
mod param;
mod read_text;
mod remove;
mod secret;
mod skip;
mod sleep;
mod slo;
mod step;
mod temp_dir;
mod timed;
mod timestamp_name;
mod verify_checksums;
mod wait_until;
mod warn;
mod write_checksums;
mod write_text;

pub use call::Call;
pub use handles::{Container, Verification};
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
    // primitives
    container::CONTAINER,
    find_container::FIND_CONTAINER,
    checksum::CHECKSUM,
    // files
    archive::ARCHIVE,
    extract::EXTRACT,
    write_checksums::WRITE_CHECKSUMS,
    verify_checksums::VERIFY_CHECKSUMS,
    list_files::LIST_FILES,
    exists::EXISTS,
    file_size::FILE_SIZE,
    read_text::READ_TEXT,
    write_text::WRITE_TEXT,
    copy::COPY,
    remove::REMOVE,
    temp_dir::TEMP_DIR,
];

/// Finds a verb by its name.
pub fn find(name: &str) -> Option<&'static Primitive> {
    CATALOGUE.iter().find(|p| p.name == name)
}
