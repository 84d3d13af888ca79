//! The editor definitions: every verb with its types and manual, as Rhai's language servers read them.

use std::fmt::Write;

use crate::primitives::{CATALOGUE, Signature};

/// Returns the text of `runner.d.rhai`.
pub fn definitions() -> String {
    let mut out = String::from("module static;\n");
    for primitive in CATALOGUE {
        for text in primitive.signatures {
            let signature = Signature::parse(text);
            for arity in signature.needed..=signature.parameters.len() {
                out.push('\n');
                primitive.manual.trim().lines().for_each(|line| {
                    out.push_str(format!("/// {line}").trim_end());
                    out.push('\n');
                });
                let parameters = signature.parameters.iter().take(arity);
                let parameters: Vec<_> =
                    parameters.map(|(name, of)| format!("{}: {of}", name.trim_end_matches('?'))).collect();
                let _ = writeln!(out, "fn {}({}) -> {};", primitive.name, parameters.join(", "), signature.returns);
            }
        }
    }
    out
}
