//! `scheduled_verification` and `disaster_test`: what runs by itself, and what asks first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use runner_test_support::{World, docker_image, postgres};

const PROGRAM: &str = env!("CARGO_BIN_EXE_runner");

/// Returns a world with a backup of a small SQLite shop.
fn backed_up() -> World {
    let world = World::new(PROGRAM).file(
        "make.rhai",
        "let shop = sqlite(\"shop.sqlite\", #{ create: true });
         execute(shop, \"create table orders (id integer primary key, total real)\");
         execute(shop, \"insert into orders values (1, 12.5), (2, 99.0)\");
         dump(shop, \"backups/shop.sqlite.gz\");",
    );
    world.run(&["make.rhai"]).expect(0);
    world
}

/// Takes one notice and returns its body.
fn channel() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let taken = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            request.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        request.read_exact(&mut body).unwrap();
        request.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(body).unwrap()
    });
    (url, taken)
}

fn verify(world: World) -> (i32, String) {
    let (url, notice) = channel();
    let ended = world.with_env("HOOK", &url).run(&["scheduled_verification", "--set", "webhook=HOOK"]);
    (ended.code, notice.join().unwrap())
}

#[test]
fn a_good_backup_is_verified_and_the_channel_told() {
    let (code, notice) = verify(backed_up());
    assert_eq!(code, 0);
    assert!(notice.contains("passed"), "{notice}");
}

#[test]
fn a_flipped_byte_fails_and_the_channel_hears_of_it() {
    let world = backed_up();
    let file = world.path("backups/shop.sqlite.gz");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, notice) = verify(world);
    assert_ne!(code, 0);
    assert!(!notice.contains("passed"), "{notice}");
}

#[test]
fn an_empty_folder_is_no_pass_and_the_channel_hears_of_it() {
    let (code, notice) = verify(World::new(PROGRAM));
    assert_eq!(code, 2);
    assert!(notice.contains("could not run"), "{notice}");
}

#[test]
fn an_old_backup_misses_the_objective() {
    backed_up().run(&["scheduled_verification", "--set", "max_age=0s"]).expect(1).told("age of the newest backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disaster_test_asks_loses_a_copy_and_brings_it_back() {
    let Some(server) = postgres().await else { return };
    server.create("shop", "create table t (id int primary key); insert into t select generate_series(1, 100);").await;
    let place = server.place("shop");
    let world = World::new(PROGRAM).with_env("SHOP", &place);
    let mut arguments = vec!["disaster_test".to_owned(), "--set=source=secret:SHOP".into()];
    arguments.extend(docker_image().await.map(|image| format!("--set=image={image}")));
    let run = |more: &[&str]| {
        world.run(&arguments.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    run(&[]).expect(3).told("--yes");
    assert_eq!(world.names("backups"), Vec::<String>::new(), "nobody agreed, nothing was done");
    run(&["--yes"]).expect(0).told("what came back is what was lost");
    assert_eq!(server.value("shop", "select count(*) from t").await, "100", "the source is as it was");
}
