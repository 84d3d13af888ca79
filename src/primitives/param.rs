//! `param`: a value that the operator may set.

use rhai::{ASTNode, Array, Dynamic, Expr};

use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::script;

pub(super) const PARAM: Primitive = Primitive {
    name: "param",
    group: Group::Inputs,
    effect: Effect::Reads,
    signatures: &["param(name: string, default: any, help: string) -> any"],
    manual: r#"
Returns the value given by `--set name=value`, or the default.

The default gives the type: a number stays a number, and a list of texts is set as `--set tables=users,orders`.
`runner help SCRIPT` lists the parameters of a script with their help, so give the name and the help as plain texts.

```rhai
let days = param("days", 7, "how many days to keep");
let tables = param("tables", ["users", "orders"], "tables that must be there");
check_eq("seven days", days, 7);
check_eq("two tables", tables.len(), 2);
```
"#,
    work: |call| Ok(param(call)?),
};

fn param(call: &Call) -> Result<Dynamic> {
    let (name, default) = (call.text(0)?, call.any(1));
    call.text(2)?;
    let value = match call.run().options.set.get(&name) {
        Some(text) => typed(&name, text, &default)?,
        None => default,
    };
    call.run().note_parameter(&name, script::show(&value));
    Ok(value)
}

/// Reads a text as the type of the default.
fn typed(name: &str, text: &str, default: &Dynamic) -> Result<Dynamic> {
    let wrong = |wanted: &str| {
        Error::new(Kind::Usage, format!("the parameter {name} is {wanted}, not `{text}`"))
            .hint(format!("write --set {name}=…"))
    };
    if let Some(items) = default.read_lock::<Array>() {
        let first = items.first().cloned().unwrap_or_else(|| "".into());
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        return Ok(parts.map(|part| typed(name, part, &first)).collect::<Result<Array>>()?.into());
    }
    if default.is_int() {
        return text.trim().parse::<i64>().map(Dynamic::from).map_err(|_| wrong("a whole number"));
    }
    if default.is_float() {
        return text.trim().parse::<f64>().map(Dynamic::from).map_err(|_| wrong("a number"));
    }
    if default.is_bool() {
        return match text.trim() {
            "true" | "yes" | "1" => Ok(true.into()),
            "false" | "no" | "0" => Ok(false.into()),
            _ => Err(wrong("true or false")),
        };
    }
    Ok(text.to_owned().into())
}

/// A parameter as a script declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its default, as a person would write it.
    pub default: String,
    /// What it is for.
    pub help: String,
}

/// Reads a call of `param` in a compiled script, without running it.
pub fn parameter_of(node: &ASTNode) -> Option<Parameter> {
    let call = match node {
        ASTNode::Expr(Expr::FnCall(call, _)) => call,
        ASTNode::Stmt(rhai::Stmt::FnCall(call, _)) => call,
        _ => return None,
    };
    if call.name != PARAM.name || call.args.len() != 3 {
        return None;
    }
    let literal = |at: usize| call.args[at].get_literal_value(None);
    let text = |at: usize| literal(at).and_then(|v: Dynamic| v.into_string().ok());
    let default = match literal(1).map(|v| v.flatten()) {
        Some(value) => match value.read_lock::<Array>() {
            Some(items) => items.iter().map(script::show).collect::<Vec<_>>().join(","),
            None => script::show(&value),
        },
        None => "(computed)".into(),
    };
    Some(Parameter { name: text(0)?, default, help: text(2).unwrap_or_default() })
}
