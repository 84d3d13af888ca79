//! The parts that every byte of a dump passes, one by one, so that a regression has a name.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runner::compare::{Aspect, Engine, Fingerprint, RowSum, Scope, Table, compare};
use runner::files::members::{MemberReader, Packer, Packing};
use runner::postgres::dump_text::DumpReader;
use runner::postgres::lexer::{self, Lexed};

const SCHEMA: &str = include_str!("../tests/fixtures/public/django.sql");
const ROWS: usize = 10_000;

/// Rows as COPY writes them, about 100 bytes each.
fn rows() -> Vec<u8> {
    let row =
        |id: usize| format!("{id}\t{}\t{:x}\tsome words that stand in each row\t\\N\n", id % 97, id * 2_654_435_761);
    (0..ROWS).map(row).collect::<String>().into_bytes()
}

/// A dump with one table, as pg_dump writes it.
fn dump() -> Vec<u8> {
    let mut text =
        b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a bigint, b int, c text, d text, e text);\n\n\
                     COPY public.t (a, b, c, d, e) FROM stdin;\n"
            .to_vec();
    text.extend(rows());
    text.extend(b"\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
    text
}

fn lexing(c: &mut Criterion) {
    let mut group = c.benchmark_group("lexer");
    group.throughput(Throughput::Bytes(SCHEMA.len() as u64));
    group.bench_function("a schema, token by token", |b| {
        b.iter(|| {
            let (mut at, mut tokens) = (0, 0);
            while let Ok(Lexed::Token(_, to)) = lexer::next(SCHEMA.as_bytes(), at, true, false) {
                (at, tokens) = (to, tokens + 1);
            }
            assert!(tokens > 1000);
        });
    });
    let dump = dump();
    group.throughput(Throughput::Bytes(dump.len() as u64));
    group.bench_function("a dump's rows", |b| {
        b.iter(|| {
            let mut reader = DumpReader::new(dump.as_slice());
            while reader.read().unwrap().is_some() {}
        });
    });
}

fn hashing(c: &mut Criterion) {
    let rows = rows();
    let mut group = c.benchmark_group("row hashing");
    group.throughput(Throughput::Bytes(rows.len() as u64));
    group.bench_function("row by row", |b| {
        b.iter(|| {
            let mut sum = RowSum::default();
            rows.split(|byte| *byte == b'\n').for_each(|row| sum.add_row(row));
            black_box(sum)
        });
    });
}

fn packing(c: &mut Criterion) {
    let rows = rows();
    let mut group = c.benchmark_group("packing");
    group.throughput(Throughput::Bytes(rows.len() as u64));
    for packing in [Packing::Gzip, Packing::Zstd] {
        let mut packer = Packer::new(packing).unwrap();
        group.bench_function(format!("{packing:?}, one member"), |b| b.iter(|| packer.pack(&rows).unwrap()));
        let packed = packer.pack(&rows).unwrap();
        group.bench_function(format!("{packing:?}, unpacked"), |b| {
            b.iter(|| std::io::copy(&mut MemberReader::new(packed.as_slice(), packing, None), &mut std::io::sink()));
        });
    }
}

fn merging(c: &mut Criterion) {
    let mut print = Fingerprint::new(Engine::Postgres);
    for at in 0..1000 {
        let mut sum = RowSum::default();
        sum.add_row(&[at as u8]);
        print.tables.insert(format!("public.table_{at}"), Table { rows: 1, sum, columns: vec!["a".into()] });
        (0..5).for_each(|item| print.add(Aspect::Definition, format!("table public.table_{at}.{item}"), "create"));
    }
    c.bench_function("fingerprint merge: two of a thousand tables and five thousand objects", |b| {
        b.iter(|| assert!(compare(&print, &print.clone(), &Scope::default()).unwrap().equal));
    });
}

criterion_group!(benches, lexing, hashing, packing, merging);
criterion_main!(benches);
