//! How important a pod is: upstream's admission plugin `Priority`.
//!
//! Flows in: new pods, and PriorityClasses that want to be the default. Flows out: pods with the priority of their class,
//! or a refusal. Pods that exist keep what they were given when a class changes.

use serde_json::Value;

use crate::object::{Object, meta_str};
use crate::resource::Resource;
use crate::server::Core;
use crate::status::Failure;

const GROUP: &str = "scheduling.k8s.io";

/// Gives a new pod the priority of the class that it names, else of the cluster's default, else 0.
pub(crate) async fn of_pod(core: &Core, pods: &Resource, pod: &mut Value) -> Result<(), Failure> {
    let asked = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let class = if asked.is_empty() {
        default_class(core).await?
    } else {
        let classes = core.registry.get(GROUP, "priorityclasses")?;
        let entry = core.store.get(&classes.key(None, asked)).await?;
        let unknown =
            || Failure::forbidden(pods, pod, format!("no PriorityClass with name {asked} was found"));
        Some(Object::from(&*entry.ok_or_else(unknown)?).to_value(&classes))
    };
    let (priority, policy) = match &class {
        Some(class) => (
            class["value"].as_i64().unwrap_or(0),
            class["preemptionPolicy"].as_str(),
        ),
        None => (0, None),
    };
    let policy = policy.unwrap_or("PreemptLowerPriority");
    let computed = "must not be provided in pod spec; priority admission controller computed";
    if let Some(given) = pod["spec"]["priority"]
        .as_i64()
        .filter(|given| *given != priority)
    {
        let why = format!(
            "the integer value of priority ({given}) {computed} {priority} from the given PriorityClass name"
        );
        return Err(Failure::forbidden(pods, pod, why));
    }
    if let Some(given) = pod["spec"]["preemptionPolicy"]
        .as_str()
        .filter(|given| *given != policy)
    {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) {computed} {policy} from the given PriorityClass name"
        );
        return Err(Failure::forbidden(pods, pod, why));
    }
    if let Some(class) = &class {
        pod["spec"]["priorityClassName"] = meta_str(class, "name").into();
    }
    pod["spec"]["priority"] = priority.into();
    pod["spec"]["preemptionPolicy"] = policy.into();
    Ok(())
}

/// Refuses a class that wants to be the default beside another one.
pub(crate) async fn of_class(core: &Core, classes: &Resource, class: &Value) -> Result<(), Failure> {
    if class["globalDefault"] != true {
        return Ok(());
    }
    let default = default_class(core).await?;
    let other = default.filter(|default| meta_str(default, "name") != meta_str(class, "name"));
    let Some(other) = other else { return Ok(()) };
    let name = meta_str(&other, "name");
    let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
    Err(Failure::forbidden(classes, class, why))
}

/// The default class; if several came to be, the least important of them.
async fn default_class(core: &Core) -> Result<Option<Value>, Failure> {
    let classes = core.registry.get(GROUP, "priorityclasses")?;
    let page = core.store.list(&classes.prefix, None, 0, None).await?;
    let all = page
        .entries
        .iter()
        .map(|entry| Object::from(&**entry).to_value(&classes));
    let defaults = all.filter(|class| class["globalDefault"] == true);
    Ok(defaults.min_by_key(|class| class["value"].as_i64()))
}
