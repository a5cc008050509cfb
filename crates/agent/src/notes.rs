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

    /// Notes about a container of it.
    pub fn container(&self, name: &str) -> Self {
        let field_path = Some(format!("spec.containers{{{name}}}"));
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
