//! What went wrong in a script, told so that an operator can act: thing, place, cause, next step.

use rhai::{Engine, EvalAltResult, ParseErrorType, Position};

use super::Loader;
use super::lint::function_names;
use crate::error::{Error, Kind};
use crate::primitives::{self, property_names};
use crate::report::failure;
use crate::run::{Event, Moment, ScriptFailure, Why};
use crate::script::{did_you_mean, nearest, thrown};

/// Tells that a run was stopped, and where it was.
pub(super) fn stopped(why: Why, moments: &[Moment]) -> ScriptFailure {
    let step = running_step(moments);
    let place = step.as_ref().map_or(String::new(), |name| format!(" in step \"{name}\""));
    ScriptFailure {
        kind: "interrupted".into(),
        message: format!("{}{place}", why.word()),
        step,
        ..ScriptFailure::default()
    }
}

/// Returns the innermost step that was cut short: it ended as interrupted before the ones around it.
fn running_step(moments: &[Moment]) -> Option<String> {
    moments.iter().find_map(|m| match &m.event {
        Event::StepEnded { name, outcome: crate::run::Outcome::Interrupted, .. } => Some(name.clone()),
        _ => None,
    })
}

/// Returns whether a dry run came to a branch that depends on an announced effect.
pub(super) fn is_branch_on_unknown(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            is_branch_on_unknown(inner)
        }
        EvalAltResult::ErrorMismatchDataType(_, found, _) => found.ends_with("Unknown"),
        EvalAltResult::ErrorFor(_) => true,
        _ => false,
    }
}

/// Tells an error of Rhai: descends to its innermost cause and keeps the calls that led there.
pub(super) fn explain(error: &EvalAltResult, loader: &Loader, engine: &Engine) -> ScriptFailure {
    let mut file = loader.main().shown();
    let mut calls = Vec::new();
    let mut at = error;
    loop {
        match at {
            // The place of a call is in the file that calls; the callee's file counts from here on.
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                if !name.starts_with("anon$") {
                    calls.push(format!("{name} at {}", place(&file, *position)));
                }
                if !source.is_empty() {
                    file.clone_from(source);
                }
                at = inner;
            }
            EvalAltResult::ErrorInModule(source, inner, _) => {
                if !source.is_empty() {
                    file.clone_from(source);
                }
                at = inner;
            }
            innermost => return tell(innermost, &file, calls, loader, engine),
        }
    }
}

fn tell(error: &EvalAltResult, file: &str, calls: Vec<String>, loader: &Loader, engine: &Engine) -> ScriptFailure {
    let text = loader.source(file).map(|s| s.text).unwrap_or_default();
    let told = words(error, &text, engine);
    let position = better_position(error, &text);
    let line = position.line().and_then(|n| text.lines().nth(n - 1)).map(str::to_owned);
    let caret = line.as_deref().zip(position.position()).map(|(line, column)| (column, token_width(line, column)));
    ScriptFailure {
        place: (!position.is_none()).then(|| place(file, position)).or_else(|| Some(file.to_owned())),
        line,
        caret,
        calls,
        ..failure::of(&told)
    }
}

fn place(file: &str, position: Position) -> String {
    match (position.line(), position.position()) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        (Some(line), None) => format!("{file}:{line}"),
        _ => file.to_owned(),
    }
}

/// Says an error of Rhai in our words, with the name that was probably meant.
fn words(error: &EvalAltResult, text: &str, engine: &Engine) -> Error {
    let script = |message: String| Error::new(Kind::Script, message);
    let hinted = |error: Error, hint: Option<String>| match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    match error {
        EvalAltResult::ErrorRuntime(value, _) => thrown(value),
        EvalAltResult::ErrorParsing(parse, _) => parse_words(parse, text),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => function_words(signature, engine),
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            hinted(script(format!("there is no variable `{name}`")), variable_hint(name, text))
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            hinted(script(format!("there is no property `{name}`")), property_hint(name, text))
        }
        EvalAltResult::ErrorDotExpr(message, _) => match message.split('\'').nth(1) {
            Some(name) if message.starts_with("Unknown property") => {
                hinted(script(format!("there is no property `{name}`")), property_hint(name, text))
            }
            _ => script(message.clone()),
        },
        EvalAltResult::ErrorModuleNotFound(what, _) => script(format!("could not import: {what}")),
        EvalAltResult::ErrorMismatchDataType(wanted, found, _) => {
            script(format!("{} is needed here, not {}", type_word(wanted), type_word(found)))
        }
        EvalAltResult::ErrorTooManyOperations(_) => script("the script ran for too many operations".into())
            .hint("a loop that never ends? work on data belongs into the database"),
        EvalAltResult::ErrorDataRace(name, _) => script(format!("two branches use `{name}` at the same time"))
            .hint("call it as a function, not as a method: restore(backup, server)"),
        EvalAltResult::ErrorTerminated(..) => Error::new(Kind::Interrupted, "interrupted"),
        other => {
            let mut bare = other.to_string();
            if let Some(at) = bare.rfind(" (line ") {
                bare.truncate(at);
            }
            script(bare)
        }
    }
}

fn parse_words(parse: &ParseErrorType, text: &str) -> Error {
    match parse {
        ParseErrorType::VariableUndefined(name) => {
            let error = Error::new(Kind::Script, format!("there is no variable `{name}`"));
            match variable_hint(name, text) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        ParseErrorType::FnDuplicatedDefinition(name, 0) if primitives::find(name).is_some() => {
            Error::new(Kind::Script, format!("the function `{name}` would take the place of the verb `{name}`"))
                .hint("give it another name: a script cannot replace what proves its result")
        }
        ParseErrorType::Reserved(word) => {
            Error::new(Kind::Script, format!("`{word}` is a reserved word")).hint("choose another name")
        }
        other => Error::new(Kind::Script, format!("syntax error: {other}")),
    }
}

fn function_words(signature: &str, engine: &Engine) -> Error {
    let name = signature.split([' ', '(']).next().unwrap_or(signature);
    if let Some(primitive) = primitives::find(name) {
        return Error::new(Kind::Script, format!("`{name}` is not called like this: {signature}"))
            .hint(format!("it is called as {}", primitive.signatures.join(" or ")));
    }
    let names = function_names(engine);
    if names.contains(name) {
        return Error::new(Kind::Script, format!("no function takes these values: {}", type_words(signature)));
    }
    let error = Error::new(Kind::Script, format!("there is no function `{name}`"));
    match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(hint) => error.hint(hint),
        None => error.hint("`runner docs` lists the verbs"),
    }
}

fn variable_hint(name: &str, text: &str) -> Option<String> {
    let others = words_of(text).filter(|w| *w != name);
    let verbs = primitives::CATALOGUE.iter().map(|p| p.name);
    nearest(name, others.chain(verbs)).map(|near| format!("did you mean `{near}`?"))
}

fn property_hint(name: &str, text: &str) -> Option<String> {
    let words = words_of(text).filter(|w| *w != name);
    let others: Vec<&str> = property_names().chain(words).collect();
    nearest(name, others).map(|near| format!("did you mean `{near}`?"))
}

/// Returns the identifiers of a text.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|w| w.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

fn type_words(signature: &str) -> String {
    signature.replace("&str | ImmutableString | String", "string").replace("i64", "int").replace("f64", "float")
}

fn type_word(name: &str) -> String {
    match name {
        "i64" => "an integer".into(),
        "f64" => "a float".into(),
        "bool" => "true or false".into(),
        // Our own types come with their path in the program.
        other => type_words(other.rsplit("::").next().unwrap_or(other)),
    }
}

/// Rhai points at the token after a missing semicolon, which is often a line later: the end of the line before it is
/// where the operator has to type.
fn better_position(error: &EvalAltResult, text: &str) -> Position {
    let position = error.position();
    let missing_end =
        matches!(error, EvalAltResult::ErrorParsing(ParseErrorType::MissingToken(token, _), _) if token == ";");
    let (true, Some(line)) = (missing_end, position.line()) else { return position };
    let lines: Vec<&str> = text.lines().collect();
    let first_on_its_line = lines
        .get(line - 1)
        .is_some_and(|l| l.chars().take(position.position().unwrap_or(1) - 1).all(char::is_whitespace));
    if !first_on_its_line {
        return position;
    }
    let before = (0..line - 1).rev().find(|n| lines.get(*n).is_some_and(|l| !l.trim().is_empty()));
    match before {
        Some(n) => Position::new((n + 1) as u16, lines[n].trim_end().chars().count() as u16 + 1),
        None => position,
    }
}

fn token_width(line: &str, column: usize) -> usize {
    let word = line.chars().skip(column - 1).take_while(|c| c.is_alphanumeric() || *c == '_').count();
    word.max(1)
}
