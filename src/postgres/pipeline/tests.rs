//! Rows that come apart: each table once, each with its definition, and none beside those that were asked for.

use std::sync::mpsc::sync_channel;

use super::*;

fn text(body: &str) -> String {
    format!("--\n-- PostgreSQL database dump\n--\n\n{body}\n\n--\n-- PostgreSQL database dump complete\n--\n\n")
}

fn definition(table: &str) -> String {
    format!(
        "--\n-- Name: {table}; Type: TABLE; Schema: public; Owner: me\n--\n\nCREATE TABLE public.{table} (\n    a integer\n);\n\n\n"
    )
}

fn rows(table: &str, rows: &str) -> String {
    format!(
        "--\n-- Data for Name: {table}; Type: TABLE DATA; Schema: public; Owner: me\n--\n\n\
         COPY public.{table} (a) FROM stdin;\n{rows}\\.\n\n\n"
    )
}

fn apart(body: &str, tables: &[&str]) -> Result<RowsApart, String> {
    let tables = tables.iter().map(|table| (*table).to_owned()).collect();
    pass_apart(text(body).as_bytes(), None, tables, 1, &Progress::default()).map_err(|failed| failed.error.to_string())
}

fn together(first: &str, others: Vec<RowsApart>) -> Result<Passed, String> {
    let give = |rows| {
        let (give, take) = sync_channel(1);
        give.send(rows).map_err(|_| "nobody takes it").unwrap();
        take
    };
    let others = others.into_iter().map(give).collect();
    pass(text(first).as_bytes(), None, others, 1, &Progress::default()).map_err(|failed| failed.error.to_string())
}

#[test]
fn what_comes_apart_counts_as_if_it_had_come_with_the_rest() {
    let whole = together(&[definition("t"), definition("u"), rows("t", "1\n"), rows("u", "2\n3\n")].concat(), vec![]);
    let setval = "--\n-- Name: s; Type: SEQUENCE SET; Schema: public; Owner: me\n--\n\n\
                  SELECT pg_catalog.setval('public.s', 9, true);\n\n\n";
    let other = apart(&(rows("u", "2\n3\n") + setval), &["public.u"]).unwrap();
    let parts = together(&[definition("t"), definition("u"), rows("t", "1\n")].concat(), vec![other]);
    assert_eq!(parts.unwrap().print, whole.unwrap().print);
}

#[test]
fn a_table_that_was_not_asked_for_or_did_not_come_is_an_error() {
    let told = apart(&rows("u", "2\n"), &["public.t"]).err().unwrap();
    assert!(told.contains("pg_dump wrote rows of table public.u"), "{told}");
    let told = apart(&rows("u", "2\n"), &["public.t", "public.u"]).err().unwrap();
    assert!(told.contains("pg_dump wrote no rows of table public.t"), "{told}");
    let told = apart(&[rows("u", "2\n"), rows("u", "2\n")].concat(), &["public.u"]).err().unwrap();
    assert!(told.contains("has written them before"), "{told}");
}

#[test]
fn rows_twice_or_not_at_all_are_an_error() {
    let other = || apart(&rows("u", "2\n"), &["public.u"]).unwrap();
    let told = together(&[definition("u"), rows("u", "2\n")].concat(), vec![other()]).err().unwrap();
    assert!(told.contains("wrote the rows of table public.u twice"), "{told}");
    let told = together(&definition("u"), vec![other(), other()]).err().unwrap();
    assert!(told.contains("wrote the rows of table public.u twice"), "{told}");
    let (_, nothing) = sync_channel(1);
    let passed = pass(text(&definition("u")).as_bytes(), None, vec![nothing], 1, &Progress::default());
    assert!(passed.err().unwrap().error.to_string().contains("did not come"));
}
