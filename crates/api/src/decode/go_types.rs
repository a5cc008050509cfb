//! What Go calls the types of our fields: its decoder's messages name them.

use crate::types::Shape;

/// Go's type for a shape that has no name of its own.
pub(super) fn name(shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Double => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Object(name) => {
            let mut parts = name.rsplit('.');
            let (last, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{last}")
        }
        Shape::List(item) => format!("[]{}", name(item)),
        Shape::Map(item) => format!("map[string]{}", name(item)),
    }
}

/// Fields whose type has a name in Go though it is plain text, a plain list or a plain map in JSON.
pub(super) fn named(owner: &str, field: &str, shape: &Shape, in_field: bool) -> Option<&'static str> {
    Some(match (owner, field, shape) {
        (_, "protocol", Shape::String) => "v1.Protocol",
        ("PodSpec", "restartPolicy", Shape::String) => "v1.RestartPolicy",
        ("Container", "restartPolicy", Shape::String) => "v1.ContainerRestartPolicy",
        ("PodSpec", "dnsPolicy", Shape::String) => "v1.DNSPolicy",
        ("PodSpec", "preemptionPolicy", Shape::String) => "v1.PreemptionPolicy",
        (_, "imagePullPolicy", Shape::String) => "v1.PullPolicy",
        (_, "terminationMessagePolicy", Shape::String) => "v1.TerminationMessagePolicy",
        (_, "scheme", Shape::String) => "v1.URIScheme",
        ("Toleration" | "Taint", "effect", Shape::String) => "v1.TaintEffect",
        ("Toleration", "operator", Shape::String) => "v1.TolerationOperator",
        ("DeploymentStrategy", "type", Shape::String) => "v1.DeploymentStrategyType",
        ("ServiceSpec", "type", Shape::String) => "v1.ServiceType",
        ("ServiceSpec", "sessionAffinity", Shape::String) => "v1.ServiceAffinity",
        ("Secret", "type", Shape::String) => "v1.SecretType",
        ("PodStatus", "phase", Shape::String) => "v1.PodPhase",
        ("LabelSelectorRequirement", "operator", Shape::String) => "v1.LabelSelectorOperator",
        ("ResourceRequirements", "limits" | "requests", Shape::Map(_)) if in_field => "v1.ResourceList",
        (_, "capacity" | "allocatable", Shape::Map(_)) if in_field => "v1.ResourceList",
        _ => return None,
    })
}

/// The name of a type without its package.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
