//! `sleep`: a pause that a stop can end. Rhai's own would not hear of it.

use rhai::Dynamic;

use super::{Effect, Group, Primitive};
use crate::script::duration;

pub(super) const SLEEP: Primitive = Primitive {
    name: "sleep",
    group: Group::Flow,
    effect: Effect::Steers,
    signatures: &["sleep(duration: string|int|float) -> ()"],
    manual: r#"
Pauses the script. To wait for something, use `wait_until`.

```rhai
sleep("1ms");
```
"#,
    work: |call| {
        let pause = duration(&call.any(0))?;
        if !call.run().options.dry_run {
            call.wait(async {
                tokio::time::sleep(pause).await;
                Ok(())
            })?;
        }
        Ok(Dynamic::UNIT)
    },
};
