//! Damages to a database, each planted in a fresh copy.

use runner::compare::{Fingerprint, Level, Scope, compare};
use runner::postgres::{IntegrityOptions, verify_integrity};
use runner::progress::Progress;

use crate::base::Base;
use crate::plants::{Expected, Plant, expected, plants};

/// As many tests share the catalogue, each with a server of its own.
const SHARES: usize = 6;
/// What runs in the sandbox of a drill.
const OPTIONS: IntegrityOptions = IntegrityOptions { indexes: true, may_install: true };

/// What each level said about a database, and what differs lawfully.
#[derive(Debug, Default)]
struct Said(Vec<(Level, Vec<String>)>, Vec<String>);

impl Said {
    fn add(&mut self, level: Level, text: String) {
        match self.0.iter_mut().find(|(known, _)| *known == level) {
            Some((_, texts)) => texts.push(text),
            None => self.0.push((level, vec![text])),
        }
        self.0.sort_by_key(|(level, _)| *level);
    }

    fn levels(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(level, _)| level.to_string()).collect();
        match (words.is_empty(), self.1.is_empty()) {
            (true, true) => "none".into(),
            (true, false) => "lawful".into(),
            (false, _) => words.join("+"),
        }
    }
}

async fn said(base: &Base, original: &Fingerprint) -> Said {
    let mut said = Said::default();
    match base.fingerprint("mut").await {
        Ok(found) => {
            let verdict = compare(original, &found, &Scope::default()).unwrap();
            for difference in verdict.differences {
                said.add(difference.level(), difference.to_string());
            }
            let lawful = verdict.lawful.iter().filter(|lawful| lawful.change.is_some());
            said.1 = lawful.map(|lawful| format!("{}: {}", lawful.object, lawful.reason)).collect();
        }
        // A database that cannot be read is never equal: the comparison ends with this error.
        Err(error) => said.add(Level::Content, error.to_string()),
    }
    match verify_integrity(&base.server.address("mut"), OPTIONS, &Progress::default()).await {
        Ok(found) => {
            found.problems.iter().for_each(|problem| said.add(Level::Integrity, problem.to_string()));
            found.not_run.iter().for_each(|(what, why)| said.add(Level::Integrity, format!("{what}: {why}")));
        }
        Err(error) => said.add(Level::Integrity, error.to_string()),
    }
    said
}

async fn plant(base: &Base, plant: &Plant) -> Result<(), String> {
    base.copy("mut").await;
    let session = base.server.session("mut").await;
    let sql = format!("set allow_system_table_mods = on; {}", plant.sql);
    session.client().batch_execute(&sql).await.map_err(|e| format!("not planted: {e:?}"))
}

/// Says what is wrong with how a damage was seen.
fn judged(id: &str, said: &Said) -> Option<String> {
    let Some(Expected { levels, object }) = expected(id) else { return Some("nothing is expected of it".into()) };
    if said.levels() != levels {
        return Some(format!("seen by {}, expected {levels}: {said:#?}", said.levels()));
    }
    let names: Vec<&str> = object.split(" ; ").collect();
    let holds = |texts: &[String], name: &str| texts.iter().any(|text| text.contains(name));
    let silent = said.0.iter().find(|(_, texts)| !names.iter().any(|name| holds(texts, name)));
    if let Some((level, texts)) = silent {
        return Some(format!("{level} does not name {object}: {texts:#?}"));
    }
    let told = |name: &str| said.0.iter().any(|(_, texts)| holds(texts, name)) || holds(&said.1, name);
    let unnamed = names.iter().find(|name| levels != "none" && !told(name));
    unnamed.map(|name| format!("nobody names {name}: {said:#?}"))
}

async fn share(number: usize) {
    let Some(base) = Base::local().await else { return };
    base.copy("mut").await;
    let original = base.fingerprint("mut").await.unwrap();
    let clean = said(&base, &original).await;
    assert_eq!(clean.levels(), "none", "a false alarm: {clean:#?}");
    let mut wrong = Vec::new();
    for damage in plants().iter().skip(number).step_by(SHARES) {
        let trouble = match plant(&base, damage).await {
            Err(why) => Some(why),
            Ok(()) => {
                let said = said(&base, &original).await;
                if std::env::var_os("RUNNER_SHOW_DAMAGES").is_some() {
                    eprintln!("@@ {} {} ## {:?}", damage.id, said.levels(), said.0);
                }
                judged(&damage.id, &said)
            }
        };
        wrong.extend(trouble.map(|why| format!("{} {}: {why}", damage.id, damage.title)));
        if let Some(undo) = &damage.undo {
            base.server.execute("postgres", undo).await;
        }
    }
    base.copy("mut").await;
    let clean = said(&base, &original).await;
    assert_eq!(clean.levels(), "none", "the undos are not whole: {clean:#?}");
    base.drop("mut").await;
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_share_of_damages_is_seen_where_it_is_claimed() {
    share(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_share_of_damages_is_seen_where_it_is_claimed() {
    share(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_share_of_damages_is_seen_where_it_is_claimed() {
    share(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_share_of_damages_is_seen_where_it_is_claimed() {
    share(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifth_share_of_damages_is_seen_where_it_is_claimed() {
    share(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_share_of_damages_is_seen_where_it_is_claimed() {
    share(5).await;
}
