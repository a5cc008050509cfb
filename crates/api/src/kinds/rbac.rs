//! RBAC's four kinds: who may do what. Stored for the tools that make them; nothing is refused because of them.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde_json::Value;

use crate::defaults::text;
use crate::kind::{NameRule, Write};
use crate::served::{Row, Served};
use crate::table::{CREATED_AT, age, column, created_at, name, wide};
use crate::validation::{self, Errors, Path, names};

const GROUP: &str = "rbac.authorization.k8s.io";

const ROLE: Row = Row {
    columns: &[column("Name"), CREATED_AT],
    name_rule: NameRule::PathSegment,
    inert: true,
    ..Row::NAMESPACED
};
const BINDING: Row = Row {
    columns: &[
        column("Name"),
        column("Role"),
        column("Age"),
        wide("Users"),
        wide("Groups"),
        wide("ServiceAccounts"),
    ],
    ..ROLE
};

impl Served for Role {
    const ROW: Row = Row {
        singular: "role",
        ..ROLE
    };

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        rules(self.rules.as_deref().unwrap_or_default(), true, errors);
    }

    fn cells(&self, _now: i64) -> Vec<Value> {
        vec![name(&self.metadata), created_at(&self.metadata)]
    }
}

impl Served for ClusterRole {
    const ROW: Row = Row {
        singular: "clusterrole",
        namespaced: false,
        ..ROLE
    };

    fn validate(&self, _old: Option<&Self>, _write: Write, errors: &mut Errors) {
        rules(self.rules.as_deref().unwrap_or_default(), false, errors);
        let Some(aggregation) = &self.aggregation_rule else {
            return;
        };
        let path = Path::ROOT.field("aggregationRule");
        let path = path.field("clusterRoleSelectors");
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        if selectors.is_empty() {
            let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.required(&path, detail);
        }
        for (index, selector) in selectors.iter().enumerate() {
            validation::selector::validate(selector, &path.index(index), errors);
        }
    }

    fn cells(&self, _now: i64) -> Vec<Value> {
        vec![name(&self.metadata), created_at(&self.metadata)]
    }
}

impl Served for RoleBinding {
    const ROW: Row = Row {
        singular: "rolebinding",
        ..BINDING
    };

    fn default(&mut self) {
        binding(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let kinds = ["Role", "ClusterRole"];
        role_ref(&self.role_ref, old.map(|old| &old.role_ref), &kinds, errors);
        subjects(self.subjects.as_deref().unwrap_or_default(), true, errors);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let role = role_cell(&self.role_ref);
        let [users, groups, accounts] = subject_cells(self.subjects.as_deref().unwrap_or_default());
        let age = age(&self.metadata, now);
        vec![name(&self.metadata), role, age, users, groups, accounts]
    }
}

impl Served for ClusterRoleBinding {
    const ROW: Row = Row {
        singular: "clusterrolebinding",
        namespaced: false,
        ..BINDING
    };

    fn default(&mut self) {
        binding(&mut self.role_ref, self.subjects.as_mut());
    }

    fn validate(&self, old: Option<&Self>, _write: Write, errors: &mut Errors) {
        let old = old.map(|old| &old.role_ref);
        role_ref(&self.role_ref, old, &["ClusterRole"], errors);
        subjects(self.subjects.as_deref().unwrap_or_default(), false, errors);
    }

    fn cells(&self, now: i64) -> Vec<Value> {
        let role = role_cell(&self.role_ref);
        let [users, groups, accounts] = subject_cells(self.subjects.as_deref().unwrap_or_default());
        let age = age(&self.metadata, now);
        vec![name(&self.metadata), role, age, users, groups, accounts]
    }
}

fn binding(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    text(&mut role.api_group, GROUP);
    for subject in subjects.into_iter().flatten() {
        if matches!(subject.kind.as_str(), "User" | "Group") {
            text(&mut subject.api_group, GROUP);
        }
    }
}

fn role_cell(role: &RoleRef) -> Value {
    format!("{}/{}", role.kind, role.name).into()
}

fn subject_cells(subjects: &[Subject]) -> [Value; 3] {
    ["User", "Group", "ServiceAccount"].map(|kind| {
        let named = subjects.iter().filter(|subject| subject.kind == kind);
        let names = named.map(|subject| match kind {
            "ServiceAccount" => {
                let namespace = subject.namespace.as_deref().unwrap_or_default();
                format!("{namespace}/{}", subject.name)
            }
            _ => subject.name.clone(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    })
}

fn rules(rules: &[PolicyRule], is_namespaced: bool, errors: &mut Errors) {
    let path = Path::ROOT.field("rules");
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        if rule.verbs.is_empty() {
            errors.required(&path.field("verbs"), "verbs must contain at least one value");
        }
        let has = |list: &Option<Vec<String>>| list.iter().flatten().next().is_some();
        if let Some(urls) = rule.non_resource_urls.as_ref().filter(|urls| !urls.is_empty()) {
            let path = path.field("nonResourceURLs");
            if is_namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.invalid(&path, urls, detail);
            }
            if has(&rule.api_groups) || has(&rule.resources) || has(&rule.resource_names) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&path, urls, detail);
            }
            continue;
        }
        if !has(&rule.api_groups) {
            let detail = "resource rules must supply at least one api group";
            errors.required(&path.field("apiGroups"), detail);
        }
        if !has(&rule.resources) {
            let detail = "resource rules must supply at least one resource";
            errors.required(&path.field("resources"), detail);
        }
    }
}

fn role_ref(role: &RoleRef, old: Option<&RoleRef>, kinds: &[&str], errors: &mut Errors) {
    let path = Path::ROOT.field("roleRef");
    match role.api_group.as_deref() {
        Some(GROUP) => {}
        other => errors.not_supported(&path.field("apiGroup"), other.unwrap_or_default(), &[GROUP]),
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.field("kind"), &role.kind, kinds);
    }
    if role.name.is_empty() {
        errors.required(&path.field("name"), "");
    } else {
        errors.problems(&path.field("name"), &role.name, &names::path_segment(&role.name));
    }
    if old.is_some_and(|old| old != role) {
        errors.invalid(&path, role, "cannot change roleRef");
    }
}

/// Within a namespace an account may come without one: it is of the same.
fn subjects(subjects: &[Subject], is_namespaced: bool, errors: &mut Errors) {
    let path = Path::ROOT.field("subjects");
    for (index, subject) in subjects.iter().enumerate() {
        let path = path.index(index);
        let name_path = path.field("name");
        if subject.name.is_empty() {
            errors.required(&name_path, "");
        }
        let group = subject.api_group.as_deref().unwrap_or_default();
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    errors.problems(&name_path, &subject.name, &names::subdomain(&subject.name));
                }
                if !group.is_empty() {
                    errors.not_supported(&path.field("apiGroup"), group, &[""]);
                }
                if !is_namespaced && subject.namespace.as_deref().is_none_or(str::is_empty) {
                    errors.required(&path.field("namespace"), "");
                }
            }
            kind @ ("User" | "Group") => {
                if subject.name.is_empty() {
                    let detail = format!("{} name cannot be empty", kind.to_lowercase());
                    errors.invalid(&name_path, "", &detail);
                }
                if group != GROUP {
                    errors.not_supported(&path.field("apiGroup"), group, &[GROUP]);
                }
            }
            other => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.not_supported(&path.field("kind"), other, &kinds);
            }
        }
    }
}
