//! A pod's priority class becomes its priority.

use serde_json::Value;
use skep_api::Object;
use skep_api::status::Status;
use skep_store::Range;

use super::{Operation, Write};
use crate::objects::{Objects, store_error};

pub(super) async fn complete(write: &mut Write<'_>) -> Result<(), Status> {
    if !write.is(Operation::Create, "", "pods") {
        return Ok(());
    }
    let classes = Objects::named(write.server, "scheduling.k8s.io", "v1", "priorityclasses");
    let Some(pod) = &mut write.object else { return Ok(()) };
    let named = pod["spec"]["priorityClassName"].as_str().unwrap_or_default().to_owned();
    let class = match named.as_str() {
        "" => global_default(&classes).await?,
        name => match classes.get("", name).await? {
            Some(class) => Some(class.object),
            None => {
                return Err(write.forbidden(format!("no PriorityClass with name {name} was found")));
            }
        },
    };
    let value = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    let policy = class.as_ref().and_then(|class| class["preemptionPolicy"].as_str());
    let policy = policy.unwrap_or("PreemptLowerPriority");
    let spec = &mut pod["spec"];
    if spec["priority"].as_i64().is_some_and(|own| own != value) {
        let own = spec["priority"].clone();
        return Err(write.forbidden(format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    spec["priority"] = value.into();
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = policy.into();
    }
    if let (true, Some(class)) = (named.is_empty(), class) {
        spec["priorityClassName"] = class["metadata"]["name"].clone();
    }
    Ok(())
}

/// The class of pods that name none: of several the lowest.
async fn global_default(classes: &Objects) -> Result<Option<Object>, Status> {
    let range = Range::prefix(classes.prefix(""));
    let found = classes.store.range(range).await.map_err(store_error)?;
    let mut all = found.kvs.iter().map(|kv| classes.decode(&kv.value, kv.mod_revision));
    all.try_fold(None, |lowest: Option<Object>, class| {
        let class = class?;
        let value = |class: &Value| class["value"].as_i64().unwrap_or(0);
        let lower = lowest.as_ref().is_none_or(|lowest| value(&class) < value(lowest));
        Ok::<_, Status>(if class["globalDefault"] == true && lower { Some(class) } else { lowest })
    })
}
