//! Times and durations of scripts: `now() - backup.taken_at` is a duration that can be shown and compared.

use jiff::Timestamp;
use rhai::Engine;

use crate::units;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// A duration in seconds; negative where a clock went back.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Span(pub f64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&units::duration(self.0))
    }
}

/// Teaches an engine times and durations.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Time>("Time").register_type_with_name::<Span>("Duration");
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |t: &mut Time| t.to_string());
        engine.register_fn(name, |s: &mut Span| s.to_string());
    }
    engine.register_get("seconds", |s: &mut Span| s.0);
    engine.register_fn("-", |a: Time, b: Time| Span(a.0.duration_since(b.0).as_secs_f64()));
    engine.register_fn("+", |a: Span, b: Span| Span(a.0 + b.0));
    macro_rules! compare {
        ($($type:ty),*) => {$(
            engine.register_fn("==", |a: $type, b: $type| a == b);
            engine.register_fn("!=", |a: $type, b: $type| a != b);
            engine.register_fn("<", |a: $type, b: $type| a < b);
            engine.register_fn("<=", |a: $type, b: $type| a <= b);
            engine.register_fn(">", |a: $type, b: $type| a > b);
            engine.register_fn(">=", |a: $type, b: $type| a >= b);
        )*};
    }
    compare!(Time, Span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_times_is_a_duration() {
        let mut engine = Engine::new();
        register(&mut engine);
        engine.register_fn("early", || Time("2026-01-01T00:00:00Z".parse().unwrap()));
        engine.register_fn("late", || Time("2026-01-01T02:14:00Z".parse().unwrap()));
        assert_eq!(
            engine.eval::<String>("`${late() - early()} from ${early()}`").unwrap(),
            "2h 14m from 2026-01-01T00:00:00Z"
        );
        assert!(engine.eval::<bool>("late() > early() && (late() - early()).seconds == 8040.0").unwrap());
    }
}
