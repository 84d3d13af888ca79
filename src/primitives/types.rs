//! The types of scripts that are not Rhai's own: their properties, with the words of the manual.

use rhai::Engine;

use super::handles;
use crate::script::{self, Unknown};
use crate::secret::Secret;

/// A type's property for the manual and for "did you mean".
pub struct TypeNote {
    /// The type.
    pub of: &'static str,
    /// The property.
    pub name: &'static str,
    /// Its type.
    pub returns: &'static str,
    /// What it gives.
    pub gives: &'static str,
}

/// Every property of every type.
pub const PROPERTIES: &[TypeNote] = &[
    note("Duration", "seconds", "float", "the duration in seconds"),
    note("Container", "name", "string", "its name"),
    note("Container", "id", "string", "its id, which no later container has"),
    note("Container", "image", "string", "the name of its image"),
    note("Container", "running", "bool", "whether it runs and is not paused"),
    note("Container", "state", "string", "its state in words: `exited with status 1, 2 hours ago`"),
    note("Container", "logs", "string", "the last 20 lines that it wrote, secrets masked"),
    note("Container", "host", "string", "`.host(5432)`: the address at which that port is reached from here"),
    note("Container", "port", "int", "`.port(5432)`: the port at which that port is reached from here"),
    note("Container", "address", "string", "`.address(5432)`: both of them, `127.0.0.1:49153`"),
    note("Verification", "intact", "bool", "whether every listed file is there and unchanged"),
    note("Verification", "summary", "string", "the verdict in one line"),
    note("Verification", "files", "int", "how many files the list names"),
    note("Verification", "changed", "array", "the files with another content"),
    note("Verification", "missing", "array", "the files that are not there"),
    note("Verification", "unreadable", "array", "the files that could not be read, each with the reason"),
    note("Verification", "extra", "array", "the files in the folder that the list does not name"),
];

const fn note(of: &'static str, name: &'static str, returns: &'static str, gives: &'static str) -> TypeNote {
    TypeNote { of, name, returns, gives }
}

/// Returns the names of all properties.
pub fn property_names<'a>() -> impl Iterator<Item = &'a str> {
    PROPERTIES.iter().map(|p| p.name)
}

/// Teaches an engine our types.
pub fn register_types(engine: &mut Engine) {
    Unknown::register(engine);
    script::register_time(engine);
    handles::register(engine);
    // No `to_string`: a secret in a text shows its type's name and nothing else.
    engine.register_type_with_name::<Secret>("Secret");
}
