//! Proving a script: it runs once clean, then once for each damage, and each damage must turn a check of it red.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::{Script, execute};
use crate::backups::FILE_PLANTS;
use crate::error::{Error, Kind, Result};
use crate::postgres;
use crate::run::{Check, Event, Options, Place, Plant, Planted, Proving, Run, exit};
use crate::script::did_you_mean;
use crate::sqlite;

/// What the script did about one damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// These checks went red.
    Caught {
        /// By their names.
        checks: Vec<String>,
    },
    /// The script broke off before it could pass, with this message.
    Stopped {
        /// Why.
        why: String,
    },
    /// It passed all the same.
    Missed,
    /// The database or the file had nothing to damage in this way.
    NothingToDamage,
    /// The script never came to a place where this could be planted.
    NotReached,
    /// It could not be planted: that is our affair, and says nothing about the script.
    NotPlanted {
        /// Why.
        why: String,
    },
}

/// One damage and what the script did about it.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// The damage.
    pub damage: &'static str,
    /// What was planted: the statement, or what was done to the file.
    pub planted: String,
    /// What the script did.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The run, whose evidence tells more.
    pub run: String,
}

/// What a script's checks are worth.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Proof {
    /// The script.
    pub script: String,
    /// Each damage, in the order in which they were planted.
    pub attempts: Vec<Attempt>,
    /// For each check of the clean run, how many damages turned it red.
    pub checks: BTreeMap<String, usize>,
}

impl Proof {
    /// Returns how many damages were planted.
    pub fn planted(&self) -> usize {
        let planted =
            |a: &&Attempt| matches!(a.outcome, Outcome::Caught { .. } | Outcome::Stopped { .. } | Outcome::Missed);
        self.attempts.iter().filter(planted).count()
    }

    /// Returns how many of them the script noticed.
    pub fn caught(&self) -> usize {
        self.attempts.iter().filter(|a| matches!(a.outcome, Outcome::Caught { .. } | Outcome::Stopped { .. })).count()
    }

    /// Returns how many damages could not be tried.
    pub fn not_planted(&self) -> usize {
        self.attempts.iter().filter(|a| matches!(a.outcome, Outcome::NotPlanted { .. })).count()
    }

    /// Returns the checks of the clean run that no damage turned red.
    pub fn never_red(&self) -> Vec<&str> {
        self.checks.iter().filter(|(_, red)| **red == 0).map(|(name, _)| name.as_str()).collect()
    }
}

/// Runs a script clean, then with each damage, and tells each attempt as it ends. `begin` starts a run.
///
/// # Errors
/// When the clean run does not pass, or restores nothing: what the damaged runs show would then mean nothing. When a run
/// is stopped by a signal.
pub fn prove(
    script: &Script,
    options: &Options,
    plants: &[Plant],
    begin: impl Fn(Options) -> Result<Arc<Run>>,
    mut told: impl FnMut(&Attempt),
) -> Result<Proof> {
    let run_with = |plant: Option<Plant>| {
        let proving = Arc::new(Proving::new(plant));
        let run = begin(Options { proving: Some(Arc::clone(&proving)), ..options.clone() })?;
        let verdict = execute(script, &run);
        if let Some(why) = run.stop.why() {
            return Err(Error::new(Kind::Interrupted, format!("the proof was {}", why.word())));
        }
        Ok((run, proving, verdict))
    };
    let (clean, proving, verdict) = run_with(None)?;
    if verdict.exit_code != exit::PASSED {
        return Err(Error::new(Kind::Script, "the script does not pass without any damage, so nothing can be proven")
            .caused_by(verdict.words)
            .hint(format!("runner report {} tells why; mend that first", clean.id)));
    }
    if proving.restored() == 0 {
        return Err(Error::new(
            Kind::Usage,
            "the script restores nothing into a sandbox, so there is nothing to damage",
        )
        .hint("prove a drill: a script that restores a backup with `sandbox` or `with_sandbox`"));
    }
    let mut proof = Proof { script: script.origin.called(), ..Proof::default() };
    proof.checks = checks(&clean).into_iter().map(|check| (check.name, 0)).collect();
    for &plant in plants {
        let (run, proving, _) = run_with(Some(plant))?;
        let (planted, outcome) = outcome(&run, proving.planted());
        if let Outcome::Caught { checks } = &outcome {
            checks.iter().for_each(|name| *proof.checks.entry(name.clone()).or_default() += 1);
        }
        let attempt = Attempt { damage: plant.title, planted, outcome, run: run.id.clone() };
        told(&attempt);
        proof.attempts.push(attempt);
    }
    Ok(proof)
}

/// Returns the damages of these names, or every one: those of the restored copy first.
///
/// # Errors
/// When there is no damage of a name.
pub fn plants(names: &[String]) -> Result<Vec<Plant>> {
    let all = every_plant();
    if names.is_empty() {
        return Ok(all);
    }
    let named = names.iter().map(|name| {
        all.iter().find(|plant| plant.title == name).copied().ok_or_else(|| {
            let hint = did_you_mean(name, all.iter().map(|plant| plant.title));
            Error::new(Kind::Usage, format!("there is no damage {name}")).hint(hint.unwrap_or_default())
        })
    });
    named.collect()
}

fn every_plant() -> Vec<Plant> {
    let mut seen = BTreeSet::new();
    let restored = postgres::plant_titles().chain(sqlite::plant_titles()).filter(|title| seen.insert(*title));
    let restored = restored.map(|title| Plant { title, place: Place::Restored }).collect::<Vec<_>>();
    restored.into_iter().chain(FILE_PLANTS.map(|title| Plant { title, place: Place::File })).collect()
}

/// Judges one run. Only a check that went red, or an end before the verdict, counts as noticing; a run that broke before
/// the damage was planted noticed nothing.
fn outcome(run: &Run, planted: Planted) -> (String, Outcome) {
    let broke = run.journal.moments().into_iter().find_map(|moment| match moment.event {
        Event::Broke(failure) => Some(failure.message),
        _ => None,
    });
    let planted = match (planted, broke.clone()) {
        (Planted::Done(what), _) => what,
        (Planted::NothingToDamage, _) => return (String::new(), Outcome::NothingToDamage),
        (Planted::NotTaken(why), _) | (Planted::NotReached, Some(why)) => {
            return (String::new(), Outcome::NotPlanted { why });
        }
        (Planted::NotReached, None) => return (String::new(), Outcome::NotReached),
    };
    let red: Vec<_> = checks(run).into_iter().filter(|check| !check.passed).map(|check| check.name).collect();
    let outcome = match (red.is_empty(), broke) {
        (false, _) => Outcome::Caught { checks: red },
        (true, Some(why)) => Outcome::Stopped { why },
        (true, None) => Outcome::Missed,
    };
    (planted, outcome)
}

fn checks(run: &Run) -> Vec<Check> {
    let moments = run.journal.moments().into_iter();
    moments
        .filter_map(|moment| match moment.event {
            Event::Checked(check) => Some(check),
            _ => None,
        })
        .collect()
}
