//! The types of scripts that are not Rhai's own: their properties, with the words of the manual.

use rhai::Engine;

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
pub const PROPERTIES: &[TypeNote] =
    &[TypeNote { of: "Duration", name: "seconds", returns: "float", gives: "the duration in seconds" }];

/// Returns the names of all properties.
pub fn property_names<'a>() -> impl Iterator<Item = &'a str> {
    PROPERTIES.iter().map(|p| p.name)
}

/// Teaches an engine our types.
pub fn register_types(engine: &mut Engine) {
    Unknown::register(engine);
    script::register_time(engine);
    // No `to_string`: a secret in a text shows its type's name and nothing else.
    engine.register_type_with_name::<Secret>("Secret");
}
