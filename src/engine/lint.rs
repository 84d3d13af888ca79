//! What can be told about a script without running it: its parameters, and names that nothing has.

use std::collections::BTreeSet;

use rhai::{ASTNode, Engine, Expr, Position, Stmt};

use super::Loader;
use super::resolve::Source;
use crate::primitives::{self, Parameter, Signature, parameter_of};
use crate::script::did_you_mean;

/// Something that would fail, or is not what it looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `drill.rhai:14:5`.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Reads the parameters and findings of everything that was loaded.
pub(super) fn read(loader: &Loader, engine: &Engine) -> (Vec<Parameter>, Vec<Finding>) {
    let compiled = loader.compiled();
    let mut known = function_names(engine);
    for (_, ast) in &compiled {
        known.extend(ast.iter_functions().map(|f| f.name.to_owned()));
    }
    let (mut parameters, mut findings) = (Vec::new(), Vec::new());
    for (source, ast) in &compiled {
        ast.walk(&mut |nodes: &[ASTNode]| {
            if let Some(node) = nodes.last() {
                if let Some(parameter) = parameter_of(node) {
                    note_parameter(&mut parameters, parameter);
                }
                findings.extend(finding(node, source, &known));
            }
            true
        });
    }
    findings.dedup();
    (parameters, findings)
}

fn note_parameter(parameters: &mut Vec<Parameter>, parameter: Parameter) {
    if !parameters.iter().any(|known| known.name == parameter.name) {
        parameters.push(parameter);
    }
}

/// What Rhai's language has built in and lists nowhere.
const BUILT_IN: [&str; 10] =
    ["Fn", "call", "curry", "debug", "is_def_fn", "is_def_var", "is_shared", "print", "type_of", "this"];

/// Returns the names of all functions that an engine knows.
pub(super) fn function_names(engine: &Engine) -> BTreeSet<String> {
    engine
        .collect_fn_metadata(None, |f| Some(f.metadata.name.to_string()), true)
        .into_iter()
        .chain(BUILT_IN.map(str::to_owned))
        .collect()
}

fn finding(node: &ASTNode, source: &Source, known: &BTreeSet<String>) -> Option<Finding> {
    let (call, position, method) = match node {
        ASTNode::Expr(Expr::FnCall(call, position)) => (call, *position, false),
        ASTNode::Stmt(Stmt::FnCall(call, position)) => (call, *position, false),
        ASTNode::Expr(Expr::MethodCall(call, position)) => (call, *position, true),
        ASTNode::Stmt(Stmt::TryCatch(flow, position)) if flow.branch.is_empty() => {
            return Some(at(
                source,
                *position,
                "an empty catch hides what went wrong".into(),
                Some("log the error, or let it end the run".into()),
            ));
        }
        _ => return None,
    };
    let name = call.name.as_str();
    if call.is_operator_call() || call.is_qualified() || name.starts_with("anon$") {
        return None;
    }
    if !known.contains(name) {
        let hint = did_you_mean(name, known.iter().map(String::as_str));
        return Some(at(source, position, format!("there is no function `{name}`"), hint));
    }
    let primitive = primitives::find(name)?;
    let given = call.args.len() + usize::from(method);
    let fits = |s: Signature| (s.needed..=s.parameters.len()).contains(&given);
    if primitive.signatures.iter().any(|s| fits(Signature::parse(s))) {
        return None;
    }
    let hint = format!("it is called as {}", primitive.signatures.join(" or "));
    Some(at(source, position, format!("`{name}` does not take {given} arguments"), Some(hint)))
}

fn at(source: &Source, position: Position, message: String, hint: Option<String>) -> Finding {
    let file = source.origin.shown();
    let place = match (position.line(), position.position()) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        _ => file,
    };
    Finding { place, message, hint }
}
