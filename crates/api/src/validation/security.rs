//! Rules for the security context of a pod and of its containers.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::{Errors, Path, names, volume};

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
/// Longest path on Linux.
const MAX_PROFILE: usize = 4095;

/// Checks the security context of a pod.
pub fn pod(context: &PodSecurityContext, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    id(context.fs_group, &path.field("fsGroup"), errors);
    id(context.run_as_user, &path.field("runAsUser"), errors);
    id(context.run_as_group, &path.field("runAsGroup"), errors);
    let groups = path.field("supplementalGroups");
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &groups.index(index), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.field("shareProcessNamespace"), &true, detail);
    }
    sysctls(context, spec, &path.field("sysctls"), errors);
    let choices = [
        (
            "fsGroupChangePolicy",
            &context.fs_group_change_policy,
            ["Always", "OnRootMismatch"],
        ),
        (
            "supplementalGroupsPolicy",
            &context.supplemental_groups_policy,
            ["Merge", "Strict"],
        ),
        (
            "seLinuxChangePolicy",
            &context.se_linux_change_policy,
            ["MountOption", "Recursive"],
        ),
    ];
    for (field, choice, supported) in choices {
        if let Some(choice) = choice.as_deref().filter(|choice| !supported.contains(choice)) {
            errors.not_supported(&path.field(field), choice, &supported);
        }
    }
    seccomp(
        context.seccomp_profile.as_ref(),
        &path.field("seccompProfile"),
        errors,
    );
    app_armor(
        context.app_armor_profile.as_ref(),
        &path.field("appArmorProfile"),
        errors,
    );
}

/// Checks the security context of a container.
pub fn container(context: &SecurityContext, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    id(context.run_as_user, &path.field("runAsUser"), errors);
    id(context.run_as_group, &path.field("runAsGroup"), errors);
    match context.proc_mount.as_deref() {
        None | Some("Default") => {}
        Some("Unmasked") if spec.host_users == Some(false) => {}
        Some(unmasked @ "Unmasked") => {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.invalid(&path.field("procMount"), unmasked, detail);
        }
        Some(other) => errors.not_supported(&path.field("procMount"), other, &["Default", "Unmasked"]),
    }
    seccomp(
        context.seccomp_profile.as_ref(),
        &path.field("seccompProfile"),
        errors,
    );
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, context, detail);
        }
        let added = context
            .capabilities
            .iter()
            .flat_map(|all| all.add.iter().flatten());
        for _ in added.filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, context, detail);
        }
    }
    app_armor(
        context.app_armor_profile.as_ref(),
        &path.field("appArmorProfile"),
        errors,
    );
}

/// A user or a group.
fn id(id: Option<i64>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(path, &id, "must be between 0 and 2147483647, inclusive");
    }
}

fn sysctls(context: &PodSecurityContext, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let sysctls = context.sysctls.as_deref().unwrap_or_default();
    for (index, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(index);
        let path = path.field("name");
        let problems = names::sysctl(&sysctl.name);
        if sysctl.name.is_empty() {
            errors.required(&path, "");
        } else if problems.is_empty() && sysctls[..index].iter().any(|other| other.name == sysctl.name) {
            errors.duplicate(&path, &sysctl.name);
        } else {
            errors.problems(&path, &sysctl.name, &problems);
        }
        let name = sysctl.name.replace('/', ".");
        let of_ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if spec.host_network == Some(true) && name.starts_with("net.") {
            errors.invalid(
                &path,
                &sysctl.name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        if spec.host_ipc == Some(true) && of_ipc.iter().any(|prefix| name.starts_with(prefix)) {
            errors.invalid(&path, &sysctl.name, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path<'_>, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let kind = path.field("type");
    match profile.type_.as_str() {
        "" => errors.required(&kind, "type is required when seccompProfile is set"),
        known if PROFILES.contains(&known) => {}
        other => errors.not_supported(&kind, other, &PROFILES),
    }
    let path = path.field("localhostProfile");
    match &profile.localhost_profile {
        None if profile.type_ == "Localhost" => {
            errors.required(&path, "must be set when seccomp type is Localhost");
        }
        None => {}
        Some(file) if profile.type_ == "Localhost" => volume::relative_path(file, &path, errors),
        Some(_) => errors.invalid(&path, profile, "can only be set when seccomp type is Localhost"),
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &Path<'_>, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let kind = path.field("type");
    let path = path.field("localhostProfile");
    let name = profile.localhost_profile.as_deref();
    match (profile.type_.as_str(), name) {
        ("Localhost", None | Some("")) => {
            errors.required(&path, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&path, name, "must not be padded with whitespace");
            }
            if name.len() > MAX_PROFILE {
                errors.too_long(&path, MAX_PROFILE);
            }
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&path, name, "can only be set when AppArmor type is Localhost");
        }
        ("", _) => errors.required(&kind, "type is required when appArmorProfile is set"),
        (other, _) => errors.not_supported(&kind, other, &PROFILES),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(pod_context: Value, context: Value, spec: Value) -> Vec<String> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let mut errors = Errors::default();
        let pod_context = serde_json::from_value(pod_context).unwrap();
        pod(&pod_context, &spec, &Path::ROOT.field("pod"), &mut errors);
        let context = serde_json::from_value(context).unwrap();
        container(&context, &spec, &Path::ROOT.field("container"), &mut errors);
        let causes = errors.into_verdict().causes;
        let said = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message));
        said.collect()
    }

    #[test]
    fn users_and_kernel() {
        let host =
            json!({ "containers": [], "hostPID": true, "shareProcessNamespace": true, "hostNetwork": true });
        let pod = json!({ "fsGroup": -1, "supplementalGroups": [1, 4_294_967_296_i64], "fsGroupChangePolicy": "x",
            "sysctls": [{ "name": "A", "value": "1" }, { "name": "net/core/somaxconn", "value": "1" }] });
        assert_eq!(
            refused(pod, json!({ "runAsUser": -1, "procMount": "Unmasked" }), host),
            [
                "pod.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "pod.supplementalGroups[1]: Invalid value: 4294967296: must be between 0 and 2147483647, inclusive",
                "pod.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
                "pod.sysctls[0].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                "pod.sysctls[1].name: Invalid value: \"net/core/somaxconn\": may not be specified when 'hostNetwork' is true",
                "pod.fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnRootMismatch\"",
                "container.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "container.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ]
        );
    }

    #[test]
    fn profiles_and_privileges() {
        let profiles =
            json!({ "seccompProfile": { "type": "Localhost" }, "appArmorProfile": { "type": "x" } });
        let context = json!({ "privileged": true, "allowPrivilegeEscalation": false, "seccompProfile": { "type": "" },
            "appArmorProfile": { "type": "Unconfined", "localhostProfile": "p" } });
        let causes = refused(profiles, context, json!({ "containers": [] }));
        let (privileged, others): (Vec<_>, Vec<_>) = causes
            .into_iter()
            .partition(|cause| cause.starts_with("container: Invalid value: "));
        assert!(
            privileged[0]
                .ends_with(": cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        );
        assert_eq!(
            others,
            [
                "pod.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
                "pod.appArmorProfile.type: Unsupported value: \"x\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
                "container.seccompProfile.type: Required value: type is required when seccompProfile is set",
                "container.appArmorProfile.localhostProfile: Invalid value: \"p\": can only be set when AppArmor type is Localhost",
            ]
        );
    }
}
