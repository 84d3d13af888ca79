//! `with_sandbox`: a throwaway server for the length of a closure.

use rhai::Dynamic;

use super::sandbox::{plan, start, wanted};
use super::{Call, Effect, Group, Primitive};
use crate::run::Event;
use crate::script::{Raised, Unknown};

pub(super) const WITH_SANDBOX: Primitive = Primitive {
    name: "with_sandbox",
    group: Group::Databases,
    effect: Effect::Steers,
    signatures: &["with_sandbox(options: map, work: closure) -> any"],
    manual: r#"
Makes a throwaway server, calls a closure with it, removes it, and returns the closure's value.

The server is removed when the closure returns and when it throws. The options are those of `sandbox`.

```rhai
let users = with_sandbox(#{ engine: "sqlite" }, |server| {
    let db = server.database("shop");
    execute(db, "create table users (id integer primary key, name text)");
    execute(db, "insert into users (name) values ('ada'), ('grace')");
    query_value(db, "select count(*) from users")
});
check_eq("users", users, 2);
```
"#,
    work: with_sandbox,
};

fn with_sandbox(call: &Call) -> Raised<Dynamic> {
    let closure = call.closure(1)?;
    if call.run().options.dry_run {
        let text = plan(call, 0)?;
        call.run().journal.record(Event::Announced { primitive: "with_sandbox".into(), text });
        return call.call(&closure, (Unknown::of("with_sandbox"),));
    }
    let wanted = wanted(call, 0)?;
    let server = start(call, &wanted)?;
    if wanted.keep || call.run().options.keep {
        call.host().keep_at_end(server.clone());
        return call.call(&closure, (Dynamic::from(server),));
    }
    let result = call.call(&closure, (Dynamic::from(server.clone()),));
    // After a stop the run's own cleanup removes it: waiting here would end at once.
    if !call.token().is_cancelled()
        && let Err(error) = call.wait(server.remove())
    {
        call.run().journal.record(Event::Said { text: format!("could not remove {server}: {error}"), warning: true });
    }
    result
}
