//! The playbooks of `docs/runbooks/playbooks.md`, walked through one after the other against real parts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "fixtures/shop.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod shop;

use runner_test_support::docker;
use shop::Shop;

/// Runs a command as the page has it, and agrees to what it asks.
fn play(shop: &Shop, settings: &[&str]) -> runner_test_support::Ended {
    let arguments: Vec<_> =
        ["disaster_recovery", "--yes"].into_iter().chain(settings.iter().flat_map(|s| ["--set", *s])).collect();
    shop.world.run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_recovery_then_the_database_alone_then_the_models_alone() {
    let Some(shop) = Shop::open().await else { return };
    let archive = format!("archive={}", shop.save());
    let (into, health) = (format!("into={}", shop.path("srv").display()), "health=web:8000/health");
    let orders = || shop.psql("shop", "select count(*) from orders");
    let model = |name: &str| std::fs::read_to_string(shop.path("srv/models").join(name)).unwrap();

    // Full system recovery.
    shop.lose();
    play(&shop, &[&archive, &into, health]).expect(0).told("health: web:8000/health answers well");
    assert_eq!((orders().as_str(), model("v1.pkl").as_str()), ("1000", "weights of version 1"));

    // Database only: its server is lost with its volume, an empty one took its place.
    play(&shop, &[&archive, "only=database"]).expect(3).told("database shop holds something");
    docker(&["rm", "-fv", &shop.name("db_1")]);
    docker(&["volume", "rm", &shop.name("pgdata")]);
    shop.world.write("srv/models/newer.pkl", "trained since");
    shop.start_database();
    assert!(shop.try_psql("shop", "app", "canary-app", "select 1").is_err());
    play(&shop, &[&archive, "only=database", health]).expect(0).told("every row, index, grant and sequence is back");
    assert_eq!((orders().as_str(), model("newer.pkl").as_str()), ("1000", "trained since"));
    assert_eq!(shop.try_psql("shop", "app", "canary-app", "select count(*) from orders").unwrap(), "1000");

    // Models only: one is overwritten, one is gone, one is new.
    shop.psql("shop", "insert into orders values (5000, 1, now())");
    shop.world.write("srv/models/v1.pkl", "garbage");
    std::fs::remove_file(shop.path("srv/models/sub/v2 ü.pkl")).unwrap();
    play(&shop, &[&archive, &into, "only=models"]).expect(3).told("srv/models holds something");
    play(&shop, &[&archive, &into, "only=models", "replace=true", health])
        .expect(0)
        .told("models: every file is what was saved: 4 of 4 files are unchanged");
    assert_eq!(
        (model("v1.pkl").as_str(), model("sub/v2 ü.pkl").as_str()),
        ("weights of version 1", "weights of version 2")
    );
    assert_eq!(orders(), "1001", "the database is as it was");
    let kept = shop.world.names("srv").into_iter().find(|n| n.starts_with("models__before_")).unwrap();
    assert_eq!(shop.world.names(&format!("srv/{kept}")), ["newer.pkl", "sub", "v1.pkl", "zeros.bin"]);
    assert_eq!(shop.health(), "HTTP/1.0 200 OK");
    play(&shop, &[&archive, "only=modles"]).expect(2).told("holds no");
}
