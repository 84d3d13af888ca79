//! Values to and from scripts: JSON that the rest of the program speaks, and the text that a person sees.

use rhai::{Array, Blob, Dynamic, Map};
use serde_json::Value;

/// Turns JSON into a script value. A number that fits no integer becomes a float.
pub fn from_json(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => b.into(),
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap_or(f64::NAN).into(), Dynamic::from),
        Value::String(s) => s.into(),
        Value::Array(items) => items.into_iter().map(from_json).collect::<Array>().into(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k.into(), from_json(v))).collect::<Map>().into(),
    }
}

/// Turns a script value into JSON; values of our own types become their text.
pub fn to_json(value: &Dynamic) -> Value {
    if value.is_unit() {
        return Value::Null;
    }
    if let Ok(b) = value.as_bool() {
        return b.into();
    }
    if let Ok(n) = value.as_int() {
        return n.into();
    }
    if let Ok(x) = value.as_float() {
        return serde_json::Number::from_f64(x).map_or_else(|| x.to_string().into(), Value::Number);
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(to_json).collect();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return Value::Object(map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect());
    }
    show(value).into()
}

/// Returns the text that a person sees: strings bare, everything inside lists and maps as Rhai would write it.
pub fn show(value: &Dynamic) -> String {
    if value.is_unit() {
        return "()".into();
    }
    if value.is::<Blob>() {
        return "<blob>".into();
    }
    if let Some(time) = value.read_lock::<super::Time>() {
        return time.to_string();
    }
    if let Some(span) = value.read_lock::<super::Span>() {
        return span.to_string();
    }
    if let Some(unknown) = value.read_lock::<super::Unknown>() {
        return unknown.to_string();
    }
    value.to_string()
}

/// Returns the type of a value in the manual's words.
pub fn type_word(value: &Dynamic) -> &'static str {
    match value.type_name() {
        "i64" => "int",
        "f64" => "float",
        "bool" => "bool",
        "()" => "nothing",
        // Our own types come with their path in the program.
        other => other.rsplit("::").next().unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_there_and_back() {
        let json = serde_json::json!({"id": 7, "score": 0.5, "name": "ada", "tags": ["a", null], "ok": true});
        assert_eq!(to_json(&from_json(json.clone())), json);
    }
}
