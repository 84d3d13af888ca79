//! `check_eq`: a claim that two values are equal.

use rhai::Dynamic;

use super::check::{note, planned};
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::script::{self, Unknown};

pub(super) const CHECK_EQ: Primitive = Primitive {
    name: "check_eq",
    group: Group::Verdict,
    effect: Effect::Steers,
    signatures: &["check_eq(name: string, actual: any, expected: any) -> bool"],
    manual: r#"
Notes whether two values are equal, and returns it.

Types count: 5 is not "5", and comparing them is an error rather than a failed check, since Rhai would silently say no.
Integers and floats are compared as numbers; lists and maps item by item.

```rhai
check_eq("versions", 68, 68);
check_eq("row", #{ id: 1, tags: ["a"] }, #{ id: 1, tags: ["a"] });
```
"#,
    work: |call| Ok(check_eq(call)?),
};

fn check_eq(call: &Call) -> Result<Dynamic> {
    let name = call.text(0)?;
    let (actual, expected) = (call.any(1), call.any(2));
    if Unknown::is_in(&actual) || Unknown::is_in(&expected) {
        return Ok(planned(call, name));
    }
    if !comparable(&actual, &expected) {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "check_eq \"{name}\" compares {} with {}",
                script::type_word(&actual),
                script::type_word(&expected)
            ),
        )
        .hint("values of different types are never equal; convert one of them"));
    }
    let (actual, expected) = (script::to_json(&actual), script::to_json(&expected));
    let passed = equal(&actual, &expected);
    let detail = if passed { actual.to_string() } else { format!("expected {expected}, found {actual}") };
    Ok(note(call, name, passed, shortened(detail)))
}

/// NULL may stand against anything: a query gives it where a value was hoped for.
fn comparable(a: &Dynamic, b: &Dynamic) -> bool {
    let number = |v: &Dynamic| v.is_int() || v.is_float();
    a.is_unit() || b.is_unit() || (number(a) && number(b)) || a.type_id() == b.type_id()
}

fn equal(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (a, b) {
        (Number(x), Number(y)) => x == y || (x.as_f64() == y.as_f64() && !(x.is_i64() && y.is_i64())),
        (Array(x), Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Object(x), Object(y)) => x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w))),
        _ => a == b,
    }
}

fn shortened(text: String) -> String {
    const SHOWN: usize = 300;
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['…']).collect() }
}
