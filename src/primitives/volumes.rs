//! `volumes`: which volumes there are, and who uses them.

use serde_json::json;

use super::{Effect, Group, Primitive};
use crate::docker;
use crate::script::from_json;

pub(super) const VOLUMES: Primitive = Primitive {
    name: "volumes",
    group: Group::Docker,
    effect: Effect::Reads,
    signatures: &["volumes(options?: map) -> array"],
    manual: r#"
Returns Docker's volumes by name: a map for each with `name`, `driver`, `labels`, `project`, `users` and `running`.

Option: `prefix`, with which their names start. `project` is the Compose project that made the volume, or (). `users` are
the names of the containers that mount it, `running` those of them that run.

```rhai,no_run
for volume in volumes(#{ prefix: "shop_" }) {
    log(`${volume.name}: ${if volume.running.is_empty() { "idle" } else { `in use by ${volume.running}` }}`);
}
```
"#,
    work: |call| {
        let mut options = call.options(0)?;
        let prefix = options.text("prefix")?.unwrap_or_default();
        options.finish()?;
        let found = call.wait(docker::volumes(&call.host().docker, &prefix))?;
        let facts = found.iter().map(|v| {
            json!({
                "name": v.name,
                "driver": v.driver,
                "labels": v.labels,
                "project": v.labels.get(docker::LABEL_PROJECT),
                "users": v.users.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "running": v.running(),
            })
        });
        Ok(facts.map(from_json).collect::<rhai::Array>().into())
    },
};
