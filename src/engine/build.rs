//! The Rhai engine: strict, bounded, without anything that reaches the machine except our verbs.

use std::sync::Arc;

use rhai::{Engine, Module, NativeCallContext, OptimizationLevel};

use super::Loader;
use crate::primitives::{CATALOGUE, Host, register_types};
use crate::run::{Event, Scope};

/// Every limit is set: Rhai's defaults differ between debug and release builds, and most of them are "none".
pub(super) struct Limits {
    operations: u64,
    call_levels: usize,
    expression_depth: usize,
    string: usize,
    array: usize,
    map: usize,
    variables: usize,
    functions: usize,
    modules: usize,
}

/// A script steers; it does not compute. A loop that means no harm ends long before these.
pub(super) const LIMITS: Limits = Limits {
    operations: 100_000_000,
    call_levels: 64,
    expression_depth: 128,
    string: 32 << 20,
    array: 1_000_000,
    map: 100_000,
    variables: 10_000,
    functions: 2_000,
    modules: 200,
};

/// Builds an engine that compiles and checks scripts but has no run to act for.
pub(super) fn compiler(loader: &Loader) -> Engine {
    let mut engine = strict(loader);
    // What the optimizer takes out (`if false { … }`) is still what the author wrote.
    engine.set_optimization_level(OptimizationLevel::None);
    // Names and arities are enough to compile; nothing of this engine is ever called.
    let mut names = Module::new();
    for primitive in CATALOGUE {
        primitive.register(&mut names, None);
    }
    engine.register_global_module(names.into());
    engine
}

/// Builds the engine of one run.
pub(super) fn engine(loader: &Loader, host: &Arc<Host>) -> Engine {
    let mut engine = strict(loader);
    let mut verbs = Module::new();
    for primitive in CATALOGUE {
        primitive.register(&mut verbs, Some(host));
    }
    engine.register_global_module(verbs.into());
    take_over(&mut engine, host);
    listen(&mut engine, host);
    engine
}

/// Verbs that Rhai has a number function of the same name for, which would win for numbers: its `sleep` hears of no
/// stop, and `log(3.5)` would be a logarithm.
const TAKEN_OVER: [&str; 2] = ["sleep", "log"];

fn take_over(engine: &mut Engine, host: &Arc<Host>) {
    for primitive in CATALOGUE.iter().filter(|p| TAKEN_OVER.contains(&p.name)) {
        let (whole, fraction) = (Arc::clone(host), Arc::clone(host));
        engine.register_fn(primitive.name, move |c: NativeCallContext, n: i64| {
            primitive.call(&whole, &c, vec![n.into()])
        });
        engine.register_fn(primitive.name, move |c: NativeCallContext, n: f64| {
            primitive.call(&fraction, &c, vec![n.into()])
        });
    }
}

fn strict(loader: &Loader) -> Engine {
    let mut engine = Engine::new();
    engine
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        // Never `Full`: it calls native functions while it compiles.
        .set_optimization_level(OptimizationLevel::Simple)
        .disable_symbol("eval")
        .set_max_operations(LIMITS.operations)
        .set_max_call_levels(LIMITS.call_levels)
        .set_max_expr_depths(LIMITS.expression_depth, LIMITS.expression_depth)
        .set_max_string_size(LIMITS.string)
        .set_max_array_size(LIMITS.array)
        .set_max_map_size(LIMITS.map)
        .set_max_variables(LIMITS.variables)
        .set_max_functions(LIMITS.functions)
        .set_max_modules(LIMITS.modules)
        .set_module_resolver(loader.clone());
    register_types(&mut engine);
    engine
}

/// Connects what a script prints and how it is stopped with its run.
fn listen(engine: &mut Engine, host: &Arc<Host>) {
    let printing = Arc::clone(host);
    engine.on_print(move |text| say(&printing, text));
    let debugging = Arc::clone(host);
    engine.on_debug(move |text, _, _| say(&debugging, text));
    // The token stays cancelled, so a script that caught the stop once is stopped again at its next operation.
    let stop = host.run.stop.clone();
    engine.on_progress(move |_| (stop.token().is_cancelled() || Scope::is_cancelled()).then_some(rhai::Dynamic::UNIT));
}

fn say(host: &Host, text: &str) {
    host.run.journal.record(Event::Said { text: text.to_owned(), warning: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rhai's own function wins over a verb where its types fit exactly, so each shared name is looked at by hand.
    #[test]
    fn no_function_of_rhai_hides_a_verb_unseen() {
        let names = |f: rhai::FuncInfo| Some((f.metadata.name.to_string(), f.metadata.num_params));
        let own: Vec<_> = Engine::new().collect_fn_metadata(None, names, true);
        // `remove(list, at)`, `get(map, key)`, `extract(list, from, length)` take values of types that no verb takes.
        let others = [("remove", 2), ("extract", 2), ("extract", 3), ("get", 2)];
        let known = |name: &str, arity: usize| TAKEN_OVER.contains(&name) || others.contains(&(name, arity));
        for primitive in CATALOGUE {
            let hidden = own.iter().find(|(name, arity)| name == primitive.name && !known(name, *arity));
            assert_eq!(hidden, None);
        }
    }
}
