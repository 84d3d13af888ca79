//! `runner prove`: what a script's checks are worth, shown by damages that are planted one at a time.

use std::sync::Arc;

use super::answer;
use super::args::{Global, Prove};
use super::run::Stage;
use crate::engine::{self, Attempt, Outcome, Proof};
use crate::error::{Error, Kind, Result};
use crate::run::{Silent, exit};

pub(super) fn prove(args: &Prove, global: &Global) -> Result<u8> {
    if args.how.dry_run {
        return Err(Error::new(Kind::Usage, "a proof has no dry run")
            .hint("it changes nothing but what it makes itself: throwaway servers and temporary files"));
    }
    let stage = Stage::open(&args.how, global)?;
    if args.how.keep {
        return Err(Error::new(Kind::Usage, "a proof keeps nothing: it would be a server for each damage")
            .hint("leave --keep out; --damage NAME shows one damage, and its run has the evidence"));
    }
    let plants = engine::plants(&args.damage)?;
    let Some(script) = stage.compile(&args.script) else { return Ok(exit::BROKE) };
    let options = stage.options_for(&script)?;
    stage.notice("running the script once without any damage, then once for each");
    let begin = |options| stage.begin(options, Arc::new(Silent));
    let proof = match engine::prove(&script, &options, &plants, begin, |attempt| {
        line(attempt).iter().for_each(|line| stage.notice(line))
    }) {
        Err(error) if error.kind() == Kind::Interrupted => return Ok(stage.stopped().unwrap_or(exit::INTERRUPTED)),
        other => other?,
    };
    let text = if global.json { json(&proof)? } else { summary(&proof) };
    answer(&text)?;
    Ok(match (proof.planted() - proof.caught(), proof.not_planted()) {
        (0, 0) if proof.planted() > 0 => exit::PASSED,
        (0, _) => exit::BROKE,
        _ => exit::FAILED,
    })
}

/// Tells of a damage that was planted; the others are only in the JSON.
fn line(attempt: &Attempt) -> Option<String> {
    let (word, text) = match &attempt.outcome {
        Outcome::Caught { checks } => ("caught", checks.join(", ")),
        Outcome::Stopped { why } => ("stopped", why.clone()),
        Outcome::Missed => {
            ("MISSED", format!("{} and every check held; runner report {}", attempt.planted, attempt.run))
        }
        Outcome::NotPlanted { why } => ("not done", why.clone()),
        Outcome::NothingToDamage | Outcome::NotReached => return None,
    };
    Some(format!("{:<34} {word:<8} {text}", attempt.damage))
}

fn json(proof: &Proof) -> Result<String> {
    let mut document = serde_json::to_value(proof)
        .map_err(|e| Error::new(Kind::Bug, "could not write the proof as JSON").because(&e))?;
    document["planted"] = proof.planted().into();
    document["not_planted"] = proof.not_planted().into();
    document["caught"] = proof.caught().into();
    document["never_red"] = proof.never_red().into();
    Ok(format!("{document}\n"))
}

fn summary(proof: &Proof) -> String {
    let mut lines = vec![format!("{}: {} of {} damages were noticed", proof.script, proof.caught(), proof.planted())];
    if proof.not_planted() > 0 {
        lines.push(format!("  {} could not be tried: see above", proof.not_planted()));
    }
    for attempt in proof.attempts.iter().filter(|a| a.outcome == Outcome::Missed) {
        lines.push(format!("  missed: {}: {}", attempt.damage, attempt.planted));
    }
    lines.extend(proof.checks.iter().map(|(name, red)| match red {
        0 => format!("  never red: {name}"),
        1 => format!("  red for 1 damage: {name}"),
        n => format!("  red for {n} damages: {name}"),
    }));
    lines.join("\n") + "\n"
}
