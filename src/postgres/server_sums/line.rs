//! One row as COPY writes it, as an expression that the server computes: each value by its type's output function, with
//! COPY's escapes, a tab between two and `\N` for NULL.

use tokio_postgres::types::Type;

use crate::postgres::lexer::quoted;
use crate::postgres::stored::Column;

/// A function takes at most a hundred arguments.
const ARGUMENTS: usize = 99;
/// The bytes that COPY escapes, as SQL writes them (which has no letter for a vertical tab) and as COPY does. The backslash is the first: the others bring more.
const ESCAPES: [(&str, &str); 7] = [
    (r"\\", r"\\\\"),
    (r"\b", r"\\b"),
    (r"\t", r"\\t"),
    (r"\n", r"\\n"),
    (r"\x0b", r"\\v"),
    (r"\f", r"\\f"),
    (r"\r", r"\\r"),
];

/// Returns the row of the table `t` with these columns as an expression of type text.
///
/// `concat` writes a value by its type's output function, as COPY does, and a NULL as nothing. A cast would not do: that of
/// `boolean` says `true`, that of `character` drops blanks, and anybody may define one.
pub(super) fn line(columns: &[Column]) -> String {
    let mut parts = Vec::new();
    for column in columns {
        if !parts.is_empty() {
            parts.push(r"E'\t'".to_owned());
        }
        parts.extend(field(column));
    }
    while parts.len() > ARGUMENTS {
        parts = parts.chunks(ARGUMENTS).map(concat).collect();
    }
    concat(&parts)
}

/// Returns the parts of a field: one for NULL or what stands before the value, and the value, of which one is empty.
fn field(column: &Column) -> [String; 2] {
    let value = format!("t.{}", quoted(&column.name));
    // A row type IS NULL also when it is a value whose fields are; its own kind of question is asked of every unknown type.
    let is_null = format!("{value} is null");
    match Type::from_oid(column.kind) {
        Some(kind) if is_plain(&kind) => [null(&is_null), value],
        Some(Type::BYTEA) => [format!(r"case when {is_null} then E'\\N' else E'\\' end"), value],
        Some(Type::JSONB) => [null(&is_null), escaped(&text(&value), &ESCAPES[..1])],
        Some(Type::TEXT | Type::VARCHAR) => [null(&is_null), escaped(&value, &ESCAPES)],
        _ => {
            let is_null = format!("pg_catalog.num_nulls({value}) operator(pg_catalog.=) 1");
            [null(&is_null), escaped(&text(&value), &ESCAPES)]
        }
    }
}

fn null(is_null: &str) -> String {
    format!(r"case when {is_null} then E'\\N' end")
}

fn text(value: &str) -> String {
    format!("pg_catalog.concat({value})")
}

/// Replaces without the column's collation, which may know no parts of texts.
fn escaped(text: &str, escapes: &[(&str, &str)]) -> String {
    let plain = format!("{text} collate pg_catalog.\"C\"");
    escapes.iter().fold(plain, |text, (byte, by)| format!("pg_catalog.replace({text}, E'{byte}', E'{by}')"))
}

fn concat(parts: &[String]) -> String {
    if parts.is_empty() { "''".into() } else { format!("pg_catalog.concat({})", parts.join(", ")) }
}

/// Returns whether values of the type are written without any byte that COPY escapes.
fn is_plain(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::NUMERIC
            | Type::DATE
            | Type::TIME
            | Type::TIMETZ
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ
            | Type::INTERVAL
            | Type::UUID
            | Type::INET
            | Type::CIDR
            | Type::MACADDR
            | Type::MACADDR8
            | Type::BIT
            | Type::VARBIT
    )
}
