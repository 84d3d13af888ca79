//! The script verbs: one file each, in one ordered catalogue that feeds registration, manual, editor files and plan.

mod call;
mod handles;
mod host;
mod paths;
mod primitive;
mod proving;
mod signatures;
mod swaps;
#[cfg(test)]
mod tests;
mod types;

mod archive;
mod backup;
mod backup_volume;
mod catalog;
mod check;
mod check_eq;
mod checksum;
mod compare;
mod confirm;
mod container;
mod copy;
mod copy_folder;
mod create;
mod database;
mod defer;
mod drop_replaced;
mod dump;
mod env;
mod execute;
mod exists;
mod extract;
mod file_size;
mod find_container;
mod fingerprint;
mod get;
mod git_bundle;
mod git_restore;
mod http_get;
mod inspect_backup;
mod latest;
mod list;
mod list_files;
mod log;
mod mark_verified;
mod measure;
mod mentions;
mod notify;
mod now;
mod parallel;
mod parallel_map;
mod param;
mod pin;
mod postgres;
mod prune;
mod query;
mod query_one;
mod query_value;
mod read_archived;
mod read_text;
mod remove;
mod rename;
mod restore;
mod restore_beside;
mod restore_folder;
mod restore_services;
mod restore_table;
mod restore_volume;
mod retention;
mod rows;
mod run;
mod sandbox;
mod save_services;
mod scratch;
mod secret;
mod services;
mod side;
mod skip;
mod sleep;
mod slo;
mod sqlite;
mod start_services;
mod stats;
mod step;
mod stop_services;
mod swap_back;
mod swap_in;
mod temp_dir;
mod timed;
mod timestamp_name;
mod unpin;
mod upload;
mod verify_checksums;
mod verify_files;
mod verify_integrity;
mod verify_set;
mod volumes;
mod wait_until;
mod warn;
mod with_sandbox;
mod write_checksums;
mod write_text;

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
    restore_beside::RESTORE_BESIDE,
    swap_in::SWAP_IN,
    swap_back::SWAP_BACK,
    drop_replaced::DROP_REPLACED,
    restore_table::RESTORE_TABLE,
    container::CONTAINER,
    find_container::FIND_CONTAINER,
    checksum::CHECKSUM,
    query::QUERY,
    query_one::QUERY_ONE,
    query_value::QUERY_VALUE,
    execute::EXECUTE,
    compare::COMPARE,
    fingerprint::FINGERPRINT,
    inspect_backup::INSPECT_BACKUP,
    verify_integrity::VERIFY_INTEGRITY,
    mentions::MENTIONS,
    notify::NOTIFY,
    // backup sets
    catalog::CATALOG,
    create::CREATE,
    list::LIST,
    latest::LATEST,
    get::GET,
    verify_set::VERIFY_SET,
    mark_verified::MARK_VERIFIED,
    pin::PIN,
    unpin::UNPIN,
    retention::RETENTION,
    prune::PRUNE,
    stats::STATS,
    copy_folder::COPY_FOLDER,
    restore_folder::RESTORE_FOLDER,
    // files
    archive::ARCHIVE,
    extract::EXTRACT,
    write_checksums::WRITE_CHECKSUMS,
    verify_checksums::VERIFY_CHECKSUMS,
    verify_files::VERIFY_FILES,
    list_files::LIST_FILES,
    exists::EXISTS,
    file_size::FILE_SIZE,
    read_text::READ_TEXT,
    read_archived::READ_ARCHIVED,
    write_text::WRITE_TEXT,
    copy::COPY,
    rename::RENAME,
    remove::REMOVE,
    temp_dir::TEMP_DIR,
    // docker
    volumes::VOLUMES,
    backup_volume::BACKUP_VOLUME,
    restore_volume::RESTORE_VOLUME,
    services::SERVICES,
    stop_services::STOP_SERVICES,
    start_services::START_SERVICES,
    save_services::SAVE_SERVICES,
    restore_services::RESTORE_SERVICES,
    // git
    git_bundle::GIT_BUNDLE,
    git_restore::GIT_RESTORE,
    // http
    http_get::HTTP_GET,
    upload::UPLOAD,
    // programs
    run::RUN,
];

/// Finds a verb by its name.
pub fn find(name: &str) -> Option<&'static Primitive> {
    CATALOGUE.iter().find(|p| p.name == name)
}
