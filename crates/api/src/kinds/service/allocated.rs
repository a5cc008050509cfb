//! What a Service was given keeps when its writer does not mention it: addresses and node ports.

use serde_json::{Value, json};

/// Copies what the server allocated from `old`, and drops what the Service's new type has no use for.
pub(super) fn keep(object: &mut Value, old: &Value) {
    let (Some(spec), Some(old)) = (object.get_mut("spec"), old.get("spec")) else {
        return;
    };
    if has_cluster_ip(spec) && has_cluster_ip(old) {
        keep_field(spec, old, "clusterIP");
        if spec.get("clusterIP") == old.get("clusterIP") {
            keep_field(spec, old, "clusterIPs");
        } else if spec.get("clusterIPs") == old.get("clusterIPs") {
            // Who changes the one address means the list as well, and is told so when that is refused.
            let address = spec.get("clusterIP").cloned().unwrap_or_default();
            crate::prepare::copy(spec, &json!({"clusterIPs": [address]}), "clusterIPs");
        }
    }
    if has_node_ports(spec) && has_node_ports(old) {
        keep_node_ports(spec, old);
    }
    if needs_health_check(spec) && needs_health_check(old) {
        keep_field(spec, old, "healthCheckNodePort");
    }
    drop_useless(spec, old);
}

fn keep_field(spec: &mut Value, old: &Value, field: &str) {
    let is_missing = match spec.get(field) {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    if is_missing {
        crate::prepare::copy(spec, old, field);
    }
}

/// A port that existed keeps its node port, unless the writer gave that to another one.
fn keep_node_ports(spec: &mut Value, old: &Value) {
    let old = old
        .get("ports")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    let mut taken: Vec<_> = ports
        .iter()
        .filter_map(|port| port.get("nodePort").cloned())
        .collect();
    let same =
        |a: &Value, b: &Value| a.get("port") == b.get("port") && a.get("protocol") == b.get("protocol");
    for port in ports.iter_mut().filter(|port| port.get("nodePort").is_none()) {
        let before = old
            .iter()
            .find(|before| same(before, port))
            .and_then(|before| before.get("nodePort"));
        let Some(before) = before.filter(|before| !taken.contains(before)) else {
            continue;
        };
        if let Some(fields) = port.as_object_mut() {
            fields.insert("nodePort".to_owned(), before.clone());
            taken.push(before.clone());
        }
    }
}

/// A field that the old type had and the new one has not goes, unless the writer just set it.
fn drop_useless(spec: &mut Value, old: &Value) {
    if has_cluster_ip(old) && !has_cluster_ip(spec) {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            drop_unchanged(spec, old, field);
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        drop_unchanged(spec, old, "externalTrafficPolicy");
        let before = old
            .get("ports")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(before) = before
                .iter()
                .find(|before| before.get("nodePort") == port.get("nodePort"))
            {
                drop_unchanged(port, before, "nodePort");
            }
        }
    }
    if is_load_balancer(old) && !is_load_balancer(spec) {
        drop_unchanged(spec, old, "allocateLoadBalancerNodePorts");
        drop_unchanged(spec, old, "loadBalancerClass");
    }
    if needs_health_check(old) && !needs_health_check(spec) {
        drop_unchanged(spec, old, "healthCheckNodePort");
    }
}

fn drop_unchanged(object: &mut Value, old: &Value, field: &str) {
    if let Some(fields) = object
        .as_object_mut()
        .filter(|fields| fields.get(field) == old.get(field))
    {
        fields.remove(field);
    }
}

fn is_load_balancer(spec: &Value) -> bool {
    spec.get("type").and_then(Value::as_str) == Some("LoadBalancer")
}

fn needs_health_check(spec: &Value) -> bool {
    is_load_balancer(spec) && spec.get("externalTrafficPolicy").and_then(Value::as_str) == Some("Local")
}

fn has_cluster_ip(spec: &Value) -> bool {
    spec.get("type").and_then(Value::as_str) != Some("ExternalName")
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(
        spec.get("type").and_then(Value::as_str),
        Some("NodePort" | "LoadBalancer")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_keeps_what_was_allocated() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "127.96.0.2", "clusterIPs": ["127.96.0.2"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        keep(&mut new, &old);
        assert_eq!(new, old);
    }

    #[test]
    fn a_change_of_type_drops_what_is_useless() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "127.96.0.2", "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "nodePort": 30001}]}});
        let mut new = old.clone();
        new["spec"]["type"] = json!("ClusterIP");
        keep(&mut new, &old);
        assert_eq!(
            new,
            json!({"spec": {"type": "ClusterIP", "clusterIP": "127.96.0.2", "ports": [{"port": 80}]}})
        );
        let mut new = old.clone();
        new["spec"]["type"] = json!("ExternalName");
        keep(&mut new, &old);
        assert_eq!(new["spec"].get("clusterIP"), None);
        let old = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "a.io/b", "healthCheckNodePort": 30000,
            "externalTrafficPolicy": "Local"}});
        let mut new = json!({"spec": {"type": "NodePort", "loadBalancerClass": "a.io/b", "healthCheckNodePort": 30000}});
        keep(&mut new, &old);
        assert_eq!(new, json!({"spec": {"type": "NodePort"}}));
    }
}
