//! Arrays as PostgreSQL writes them: `{1,NULL,"a b",{…}}`, with bounds in front where they are not the usual ones.

use serde_json::Value;

/// PostgreSQL has at most six dimensions.
const DEPTH: usize = 6;

/// Reads an array's text; `item` reads one value's. Nothing when it is not written as expected.
pub(super) fn read(text: &str, item: &dyn Fn(&str) -> Value) -> Option<Value> {
    // `[0:1]={…}`: bounds are no content.
    let body = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut rest = body;
    let value = list(&mut rest, item, DEPTH)?;
    rest.is_empty().then_some(value)
}

fn list(rest: &mut &str, item: &dyn Fn(&str) -> Value, depth: usize) -> Option<Value> {
    if depth == 0 {
        return None;
    }
    *rest = rest.strip_prefix('{')?;
    let mut values = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        *rest = after;
        return Some(Value::Array(values));
    }
    loop {
        values.push(match rest.chars().next()? {
            '{' => list(rest, item, depth - 1)?,
            '"' => item(&quoted(rest)?),
            _ => plain(rest, item)?,
        });
        let next = rest.chars().next()?;
        *rest = &rest[next.len_utf8()..];
        match next {
            '}' => return Some(Value::Array(values)),
            // Boxes are the one type whose values are parted by another sign.
            ',' | ';' => {}
            _ => return None,
        }
    }
}

fn plain(rest: &mut &str, item: &dyn Fn(&str) -> Value) -> Option<Value> {
    let end = rest.find([',', ';', '}'])?;
    let text = &rest[..end];
    *rest = &rest[end..];
    Some(if text == "NULL" { Value::Null } else { item(text) })
}

fn quoted(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

/// Writes a list as an array's text.
pub(super) fn written(items: &[Value]) -> String {
    let texts: Vec<String> = items.iter().map(one).collect();
    format!("{{{}}}", texts.join(","))
}

fn one(value: &Value) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match value {
        Value::Null => "NULL".into(),
        Value::Array(items) => written(items),
        Value::String(text) => quoted(text),
        Value::Object(_) => quoted(&value.to_string()),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(text: &str) -> Option<Value> {
        read(text, &|one| one.into())
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!(["a", "b,c", "{}", "\"\\", null, "NULL", "", ["x"], " y "]);
        assert_eq!(texts(&written(value.as_array().unwrap())), Some(value));
    }

    #[test]
    fn text_that_is_no_array_is_not_taken_for_one() {
        for text in ["", "{", "{a", "{\"a}", "{a}x", "a", "{{{{{{{1}}}}}}}"] {
            assert_eq!(texts(text), None, "{text}");
        }
    }
}
