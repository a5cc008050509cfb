//! What the agent tells the user about one pod, as events.

use informer::{Recorder, Type};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Resource as _;

/// Notes events of a pod or of one of its containers. Cheap to clone.
#[derive(Clone)]
pub struct Notes {
    recorder: Recorder,
    about: ObjectReference,
}

impl Notes {
    /// Notes about a pod.
    pub fn new(recorder: Recorder, pod: &Pod) -> Self {
        Self {
            recorder,
            about: pod.object_ref(&()),
        }
    }

    /// Notes about a container of it, `pod` as it is now.
    pub fn container(&self, pod: &Pod, name: &str) -> Self {
        let field_path = Some(format!("spec.{}{{{name}}}", list_of(pod, name)));
        Self {
            recorder: self.recorder.clone(),
            about: ObjectReference {
                field_path,
                ..self.about.clone()
            },
        }
    }

    /// Something happened as it should.
    pub fn normal(&self, reason: &str, message: impl Into<String>) {
        self.recorder.event(&self.about, Type::Normal, reason, message);
    }

    /// Something the user may want to act upon.
    pub fn warning(&self, reason: &str, message: impl Into<String>) {
        self.recorder.event(&self.about, Type::Warning, reason, message);
    }
}

/// The list of a pod's spec that a container is in.
fn list_of(pod: &Pod, name: &str) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "containers";
    };
    let mut inits = spec.init_containers.iter().flatten();
    let mut ephemeral = spec.ephemeral_containers.iter().flatten();
    if inits.any(|init| init.name == name) {
        "initContainers"
    } else if ephemeral.any(|ephemeral| ephemeral.name == name) {
        "ephemeralContainers"
    } else {
        "containers"
    }
}
