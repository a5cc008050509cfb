//! What Services may ask for.

use serde_json::{Value, json};

use super::*;

fn service(mut spec: Value) -> (Value, Vec<String>) {
    spec["ports"] = json!([{ "port": 80 }]);
    created("v1", "Service", json!({ "spec": spec }))
}

#[test]
fn what_only_load_balancers_have() {
    let wrong = json!({ "loadBalancerSourceRanges": ["10.0.0.0/8", "x"], "allocateLoadBalancerNodePorts": false,
        "loadBalancerClass": "a.io/b", "healthCheckNodePort": 30000 });
    assert_eq!(
        service(wrong.clone()).1,
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ]
    );
    let mut balanced = wrong;
    balanced["type"] = json!("LoadBalancer");
    balanced["externalTrafficPolicy"] = json!("Local");
    balanced["loadBalancerSourceRanges"] = json!([" 10.0.0.0/8 "]);
    let object = good(service(balanced));
    assert_eq!(
        changed(&object, |new| {
            new["spec"]["loadBalancerClass"] = json!("c.io/d");
            new["spec"]["healthCheckNodePort"] = json!(30001);
        }),
        [
            "spec.loadBalancerClass: Invalid value: \"c.io/d\": may not change once set",
            "spec.healthCheckNodePort: Forbidden: field is immutable",
        ]
    );
    let leave = |new: &mut Value| {
        new["spec"]["type"] = json!("ClusterIP");
        new["spec"]["loadBalancerSourceRanges"] = json!([]);
    };
    assert_eq!(changed(&object, leave), [""; 0]);
}

#[test]
fn addresses() {
    for (spec, wrong) in [
        (
            json!({ "clusterIPs": ["10.0.0.1"] }),
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"] }),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (
            json!({ "clusterIP": "None", "clusterIPs": ["None", "10.0.0.2"] }),
            "spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.2\"]: 'None' must be the first and only value",
        ),
        (
            json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"] }),
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
        ),
        (
            json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1", "10.0.0.2"] }),
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"fd00::1\",\"10.0.0.2\"]: may only hold up to 2 values",
        ),
        (
            json!({ "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"] }),
            "spec.clusterIPs[1]: Invalid value: [\"10.0.0.1\",\"fd00::1\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({ "clusterIP": "fd00::1" }),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({ "clusterIP": "x" }),
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({ "externalIPs": ["0.0.0.0"] }),
            "spec.externalIPs[0]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
        ),
        (
            json!({ "externalIPs": ["169.254.0.1"] }),
            "spec.externalIPs[0]: Invalid value: \"169.254.0.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            json!({ "trafficDistribution": "Far" }),
            "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
        ),
    ] {
        assert_eq!(service(spec.clone()).1, [wrong], "{spec}");
    }
}

#[test]
fn names_of_others() {
    let spec = json!({ "type": "ExternalName", "externalName": ".", "clusterIP": "None", "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack" });
    assert_eq!(
        service(spec).1,
        [
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
            "spec.externalName: Required value",
        ]
    );
}

#[test]
fn what_has_no_effect() {
    let warnings = |mut spec: Value| {
        spec["ports"] = json!([{ "port": 80 }]);
        warned("v1", "Service", json!({ "spec": spec }))
    };
    assert_eq!(
        warnings(
            json!({ "clusterIP": "None", "externalIPs": ["10.0.0.1"], "sessionAffinity": "ClientIP",
            "externalName": "a.b" })
        ),
        [
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ]
    );
    assert_eq!(
        warnings(json!({ "type": "ExternalName", "externalName": "a.b", "externalIPs": ["10.0.0.1"] })),
        ["spec.externalIPs is ignored when spec.type is \"ExternalName\""]
    );
    assert_eq!(warnings(json!({})), [""; 0]);
}
