//! What may differ without damage is named with its reason, is not called damage, and hides none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use runner_test_support::{Ended, TestServer, World, docker_image, postgres};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

const SHOP: &str = "
    create table orders (id int primary key, total numeric, tax numeric generated always as (total * 0.2) stored);
    insert into orders (id, total) select n, n from generate_series(1, 100) n;
    create materialized view totals as select count(*) n, sum(total) s from orders;
    create materialized view asked_at as select now() at, count(*) from orders;
    create table other (id int primary key); insert into other values (1);
    create table par (id int); create table chi (own text, id int) inherits (par);
    insert into chi values (1, 'x');
";

/// A world that knows the server's database `shop`.
async fn world(server: &TestServer) -> World {
    let place = server.place("shop");
    World::new(PROGRAM)
        .with_env("SHOP", &place)
        .with_env("IMAGE", &docker_image().await.unwrap_or_else(|| "postgres:15".into()))
}

/// Dumps, restores and compares, with a line before the comparison.
fn drill(options: &str, between: &str) -> String {
    format!(
        "let saved = dump(postgres(secret(\"SHOP\")), #{{ to: \"shop.sql.gz\"{options} }});
         with_sandbox(#{{ image: env(\"IMAGE\") }}, |server| {{
             let copy = restore(saved, server, #{{ database: \"copy\" }});
             {between}
             let diff = compare(saved, copy);
             check(\"equal\", diff.equal, diff.summary);
             let all = diff.lawful.filter(|l| \"expected\" in l).map(|l| l.text);
             check(\"lawful\", true, all.to_string());
         }});"
    )
}

fn run(world: &World, script: &str, code: i32) -> (Ended, Value) {
    world.write("drill.rhai", script);
    let _ = std::fs::remove_file(world.path("shop.sql.gz"));
    for beside in ["shop.sql.gz.manifest.json", "shop.sql.gz.sha256"] {
        let _ = std::fs::remove_file(world.path(beside));
    }
    let ended = world.run(&["drill.rhai", "--json", "--report", "md=report.md"]).expect(code);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let compared = report["evidence"].as_array().unwrap().iter().rfind(|e| e["primitive"] == "compare").unwrap();
    let facts = compared["facts"].clone();
    (ended, facts)
}

/// Returns the objects that differ without damage.
fn lawful(facts: &Value) -> Vec<String> {
    let all = facts["lawful"].as_array().unwrap().iter().filter(|l| l["change"].is_string());
    all.map(|l| format!("{}: {}", l["object"].as_str().unwrap(), l["what"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_view_and_a_moved_column_are_named_and_the_copy_is_equal() {
    let Some(server) = postgres().await else { return };
    server.create("shop", SHOP).await;
    server.execute("shop", "update orders set total = 7 where id = 1").await; // `totals` is stale from now on
    let world = world(&server).await;
    let (ended, facts) = run(&world, &drill("", ""), 0);
    // `asked_at` differs with every refresh: it is no false alarm either.
    let all = [
        "MATERIALIZED VIEW public.asked_at: content",
        "MATERIALIZED VIEW public.totals: content",
        "TABLE public.chi: column order",
    ];
    assert_eq!(lawful(&facts), all[..2]);
    let ended = ended.told("are equal, 2 lawful differences");
    drop(ended);
    let page = std::fs::read_to_string(world.path("report.md")).unwrap();
    for text in ["Differs without damage", "a restore does", "planner statistics", "generated columns tax"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }

    // A child that got a column before its parent did: the restore puts the parent's first.
    server.execute("shop", "refresh materialized view totals; alter table par add column late text").await;
    let (_, facts) = run(&world, &drill("", ""), 0);
    assert_eq!(lawful(&facts), [all[0], all[2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_no_more_lawful_for_being_beside_a_stale_view() {
    let Some(server) = postgres().await else { return };
    server.create("shop", SHOP).await;
    let world = world(&server).await;
    let change = "execute(copy, \"update orders set total = 8.5 where id = 8; refresh materialized view totals\");";
    let (ended, facts) = run(&world, &drill("", change), 1);
    ended.told("table public.orders: rows changed");
    assert_eq!(lawful(&facts), Vec::<String>::new());
    let found: Vec<_> =
        facts["differences"].as_array().unwrap().iter().map(|d| d["object"].as_str().unwrap()).collect();
    assert_eq!(found, ["table public.orders", "MATERIALIZED VIEW public.asked_at", "MATERIALIZED VIEW public.totals"]);
    // Another definition is damage, whatever the rows say.
    let change = "execute(copy, \"drop materialized view totals; create materialized view totals as \
                  select count(*) n, sum(total) + 0 s from orders\");";
    let (ended, _) = run(&world, &drill("", change), 1);
    ended.told("MATERIALIZED VIEW public.totals: definition changed");
    let (ended, _) = run(&world, &drill("", "execute(copy, \"refresh materialized view totals with no data\");"), 1);
    ended.told("MATERIALIZED VIEW DATA public.totals: definition missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_cannot_be_or_were_not_read_say_so_and_fail_no_dump() {
    let Some(server) = postgres().await else { return };
    server.create("shop", SHOP).await;
    server
        .execute(
            "shop",
            "create role weak login password 'weak-canary'; grant select on all tables in schema public to weak;
             revoke select on totals from weak",
        )
        .await;
    let world = world(&server).await;
    let address = server.address("shop");
    let weak = format!("host={} port={} user=weak password=weak-canary dbname=shop", address.host(), address.port());
    let world = world.with_env("WEAK", &weak);
    let (_, facts) = run(&world, &drill("", "").replace("SHOP", "WEAK"), 0);
    let told = facts["not_checked"].to_string();
    assert!(told.contains("totals: content") && told.contains("permission denied"), "{told}");
    assert_eq!(lawful(&facts), ["MATERIALIZED VIEW public.asked_at: content"]);

    let (_, facts) = run(&world, &drill(", matviews: false", ""), 0);
    assert!(facts["not_checked"].to_string().contains("only one side says what it held"), "{facts}");
    let (_, facts) = run(&world, &drill("", "").replace("(saved, copy)", "(saved, copy, #{ matviews: false })"), 0);
    assert!(facts["not_checked"].to_string().contains("left out by the option"), "{facts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_shows_its_reason_and_a_dead_one_is_told() {
    let Some(server) = postgres().await else { return };
    server.create("shop", SHOP).await;
    let world = world(&server).await;
    let ignore =
        "#{ rows: 5, ignore: #{ \"table public.other\": \"rebuilt nightly\", \"table public.gone\": \"was here\" } }";
    let script = drill("", "execute(copy, \"delete from other\");");
    let script = script.replace("(saved, copy)", &format!("(saved, copy, {ignore})"));
    let script = script.replace(
        "check(\"lawful\"",
        "check_eq(\"not used\", diff.not_used, [\"table public.gone\"]);
         check_eq(\"reason\", diff.ignored[0].reason, \"rebuilt nightly\");
         check(\"lawful\"",
    );
    let (ended, facts) = run(&world, &script, 0);
    ended
        .told("1 difference ignored with a reason")
        .told("nothing differs in table public.gone, which `ignore` names (was here): take the entry out");
    assert_eq!(facts["not_used"][0], "table public.gone");
    // What follows from an exception is as lawful as that is, and says so.
    assert_eq!(lawful(&facts), ["MATERIALIZED VIEW public.asked_at: content"]);
    assert!(facts["lawful"][0]["reason"].as_str().unwrap().ends_with("but for what was declared lawful"), "{facts}");
    // Where an object is ignored, its rows are not looked for.
    assert_eq!(facts["row_counts"], Value::Null);
    let page = std::fs::read_to_string(world.path("report.md")).unwrap();
    assert!(page.contains("rebuilt nightly") && page.contains("table public.gone"), "{page}");
}
