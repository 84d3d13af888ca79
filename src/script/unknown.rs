//! The unknown: what an effect that a dry run only announced would have returned.

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

/// A value that only a real run knows. Whatever is asked of it is unknown, too; a branch on it ends the plan.
#[derive(Debug, Clone)]
pub struct Unknown {
    /// The announced effect it would come from.
    pub from: String,
}

impl Unknown {
    /// Returns the unknown result of an effect.
    pub fn of(primitive: &str) -> Dynamic {
        Dynamic::from(Self { from: primitive.to_owned() })
    }

    /// Returns whether a value is unknown or holds something unknown.
    pub fn is_in(value: &Dynamic) -> bool {
        value.is::<Self>()
            || value.read_lock::<rhai::Array>().is_some_and(|items| items.iter().any(Self::is_in))
            || value.read_lock::<rhai::Map>().is_some_and(|map| map.values().any(Self::is_in))
    }

    /// Teaches an engine that everything about an unknown value is unknown.
    pub fn register(engine: &mut Engine) {
        engine.register_type_with_name::<Self>("Unknown");
        engine.register_fn("to_string", |u: &mut Self| u.to_string());
        engine.register_fn("to_debug", |u: &mut Self| u.to_string());
        engine.register_indexer_get(|u: &mut Self, _: ImmutableString| u.clone());
        engine.register_indexer_get(|u: &mut Self, _: i64| u.clone());
        for operator in ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%"] {
            engine.register_fn(operator, |a: Self, _: Dynamic| a);
            engine.register_fn(operator, |_: Dynamic, b: Self| b);
            engine.register_fn(operator, |a: Self, _: Self| a);
        }
        engine.register_fn("!", |a: Self| a);
        engine.register_fn("-", |a: Self| a);
        // Methods that exist for the real value (`.rows("users")`, `.len()`) are unknown as well. The hook is marked
        // volatile upstream, not deprecated.
        #[allow(deprecated)]
        engine.on_missing_function(|_, args, _, _| {
            let unknown = args.iter().find(|a| a.is::<Self>()).map(|a| (*a).clone());
            Ok::<_, Box<EvalAltResult>>(unknown)
        });
    }
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<known after {}>", self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let mut engine = Engine::new();
        Unknown::register(&mut engine);
        engine.register_fn("restore", || Unknown::of("restore"));
        engine
    }

    #[test]
    fn everything_about_an_unknown_is_unknown() {
        for script in [
            "restore().rows",
            "restore().rows(\"users\")",
            "restore() == 5",
            "5 - restore()",
            "!restore()",
            "restore()[0].x",
        ] {
            let value = engine().eval::<Dynamic>(script).unwrap();
            assert!(value.is::<Unknown>(), "{script} gave {value}");
        }
    }

    #[test]
    fn a_branch_on_it_does_not_pick_a_side() {
        assert!(engine().eval::<i64>("if restore() == 5 { 1 } else { 2 }").is_err());
    }

    #[test]
    fn it_reads_well_in_a_text() {
        assert_eq!(engine().eval::<String>("`got ${restore()}`").unwrap(), "got <known after restore>");
    }
}
