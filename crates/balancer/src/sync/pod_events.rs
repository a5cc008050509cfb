//! Events on pods: that they are in service, and what became of their connections when they left it.

use informer::{Recorder, Type};

use super::in_service::{Left, story};
use super::slices::PodId;

/// Tells that connections go to the pod from now on.
pub fn tell_in_service(recorder: &Recorder, pod: &PodId) {
    let message = "The balancer routes connections to this pod";
    recorder.event(&pod.reference(), Type::Normal, "InService", message);
}

/// Tells that the pod's last connection has ended, and warns if some were cut.
pub fn tell_left(recorder: &Recorder, Left { pod, ended }: &Left) {
    let reference = pod.reference();
    let [.., cut] = ended;
    if *cut > 0 {
        let connections = if *cut == 1 {
            "connection was"
        } else {
            "connections were"
        };
        let message =
            format!("{cut} {connections} cut: the pod ended or broke them before their clients were done");
        recorder.event(&reference, Type::Warning, "ConnectionsCut", message);
    }
    let message = format!("No connection is left: {}", story(*ended));
    recorder.event(&reference, Type::Normal, "Drained", message);
}
