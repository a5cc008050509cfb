//! What a container's `securityContext` and limits ask for, as far as plain processes can have it.
//!
//! A user other than one's own takes root. `no_new_privs` is set unless the container may escalate: as upstream, that is
//! said by `allowPrivilegeEscalation: true` or `privileged: true`; unlike upstream, silence means no. A request of
//! processor time counts for the scheduler alone: a group's weight would be set against the whole machine's processes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{Site, StartError};
use crate::keeper::protocol::Confine;

/// Processes and threads of a container: enough for any server, and not for a fork bomb to take the machine down.
const PROCESSES: u64 = 1024;

/// What the processes of a container may use and become.
pub fn confine(site: &Site<'_>, container: &Container) -> Result<Confine, StartError> {
    let spec = site.pod.spec.as_ref();
    let (user, group) = identity(site, spec, container)?;
    let context = container.security_context.as_ref();
    let escalates = context.is_some_and(|context| {
        context.allow_privilege_escalation == Some(true) || context.privileged == Some(true)
    });
    let limit = |name: &str| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        limits.get(name)?.0.parse::<api::quantity::Amount>().ok()
    };
    Ok(Confine {
        cgroup: Some(format!("coracle-{}-{}", site.place.uid, container.name)),
        memory: limit("memory").and_then(|amount| u64::try_from(amount.value()).ok()),
        cpu_milli: limit("cpu").and_then(|amount| u64::try_from(amount.milli()).ok()),
        processes: Some(PROCESSES),
        user,
        group,
        no_new_privs: !escalates,
        sandbox: None,
    })
}

/// The groups of the pod's containers that run as another user or group than the agent. A container that cannot run as
/// whom it asks for has none, and does not keep the others from running.
pub fn groups(site: &Site<'_>) -> BTreeSet<u32> {
    let spec = site.pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(api::pods::containers);
    containers
        .filter_map(|container| identity(site, spec, &container).ok()?.1)
        .collect()
}

/// User and group, if they are to be others than the agent's. A user without a group gets the one of the same number:
/// upstream's, root's, would open files of this machine to it.
fn identity(
    site: &Site<'_>,
    spec: Option<&PodSpec>,
    container: &Container,
) -> Result<(Option<u32>, Option<u32>), StartError> {
    let pod = spec.and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let user = own.and_then(|own| own.run_as_user).or_else(|| pod?.run_as_user);
    let group = own.and_then(|own| own.run_as_group).or_else(|| pod?.run_as_group);
    let must_not_be_root = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| pod?.run_as_non_root);
    let (me, my_group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let pod_name = format!("{}_{}({})", site.place.name, site.place.namespace, site.place.uid);
    if must_not_be_root == Some(true) && user.map_or(me == 0, |user| user == 0) {
        let text = if user.is_some() {
            "container's runAsUser breaks non-root policy"
        } else {
            "container has runAsNonRoot and image will run as root"
        };
        let name = &container.name;
        return Err(StartError::Config(format!(
            "{text} (pod: \"{pod_name}\", container: {name})"
        )));
    }
    let other = |field: &str, id: Option<i64>, mine: u32| -> Result<Option<u32>, StartError> {
        let Some(id) = id.filter(|&id| id != i64::from(mine)) else {
            return Ok(None);
        };
        match u32::try_from(id) {
            Ok(id) if me == 0 => Ok(Some(id)),
            Ok(_) => Err(StartError::Config(format!(
                "{field} {id} needs root: start coracle as root, or leave {field} out and the container runs as \
                 {mine}, like coracle"
            ))),
            Err(_) => Err(StartError::Config(format!(
                "{field} {id} is no id of this system"
            ))),
        }
    };
    let user = other("runAsUser", user, me)?;
    let group = other("runAsGroup", group, my_group)?;
    Ok((user, group.or(user)))
}

/// What a pod asks for that nothing here enforces, as one sentence; `None` if there is nothing of it.
pub fn not_enforced(spec: &PodSpec) -> Option<String> {
    let mut fields = Vec::new();
    if let Some(pod) = &spec.security_context {
        fields.extend([
            (pod.fs_group.is_some(), "fsGroup"),
            (pod.supplemental_groups.is_some(), "supplementalGroups"),
            (pod.seccomp_profile.is_some(), "seccompProfile"),
            (pod.app_armor_profile.is_some(), "appArmorProfile"),
            (pod.se_linux_options.is_some(), "seLinuxOptions"),
            (pod.sysctls.is_some(), "sysctls"),
        ]);
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let Some(context) = &container.security_context else {
            continue;
        };
        fields.extend([
            (context.capabilities.is_some(), "capabilities"),
            (context.privileged == Some(true), "privileged"),
            (
                context.read_only_root_filesystem == Some(true),
                "readOnlyRootFilesystem",
            ),
            (context.seccomp_profile.is_some(), "seccompProfile"),
            (context.app_armor_profile.is_some(), "appArmorProfile"),
            (context.se_linux_options.is_some(), "seLinuxOptions"),
            (context.proc_mount.is_some(), "procMount"),
        ]);
    }
    let mut asked: Vec<&str> = fields
        .into_iter()
        .filter_map(|(is_asked, name)| is_asked.then_some(name))
        .collect();
    asked.sort_unstable();
    asked.dedup();
    (!asked.is_empty()).then(|| {
        format!(
            "securityContext: {} is not enforced: a pod's processes are plain processes of this machine",
            asked.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_enforced_is_said_once() {
        let container = |context| json!({"name": "web", "securityContext": context});
        let spec = |context| -> PodSpec {
            serde_json::from_value(json!({"containers": [container(context)]})).unwrap()
        };
        let text = not_enforced(&spec(json!({
            "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true, "seccompProfile": {"type": "RuntimeDefault"}
        })));
        let text = text.unwrap();
        assert!(
            text.starts_with("securityContext: capabilities, readOnlyRootFilesystem, seccompProfile is not"),
            "{text}"
        );
        assert_eq!(
            not_enforced(&spec(
                json!({"runAsUser": 1000, "allowPrivilegeEscalation": false})
            )),
            None
        );
    }
}
