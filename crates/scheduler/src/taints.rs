//! Taints and tolerations: the plugins NodeUnschedulable and TaintToleration.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::cluster::NodeState;
use crate::filter::Misfit;
use crate::wanted::Wanted;

pub(crate) fn unschedulable(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    let spec = state.node.as_ref().and_then(|node| node.spec.as_ref());
    let cordoned = spec.is_some_and(|spec| spec.unschedulable == Some(true));
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if cordoned && !tolerated(wanted, &taint) {
        return Err(Misfit::lasting("node(s) were unschedulable"));
    }
    Ok(())
}

pub(crate) fn untolerated(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    // Which taint is not said, as in upstream since 1.35: nodes are counted together.
    if taints(state).filter(hard).all(|taint| tolerated(wanted, taint)) {
        Ok(())
    } else {
        Err(Misfit::lasting("node(s) had untolerated taint(s)"))
    }
}

/// How many of the node's soft taints the pod does not tolerate: fewer is better.
pub(crate) fn score(wanted: &Wanted, state: &NodeState) -> i64 {
    let soft = taints(state).filter(|taint| taint.effect == "PreferNoSchedule");
    let count = soft.filter(|taint| !tolerated(wanted, taint)).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn taints(state: &NodeState) -> impl Iterator<Item = &Taint> {
    let spec = state.node.as_ref().and_then(|node| node.spec.as_ref());
    spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten()
}

fn tolerated(wanted: &Wanted, taint: &Taint) -> bool {
    wanted
        .spec()
        .tolerations
        .iter()
        .flatten()
        .any(|toleration| tolerates(toleration, taint))
}

/// Upstream: `Toleration.ToleratesTaint`.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    let (effect, key) = (given(&toleration.effect), given(&toleration.key));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => !key.is_empty() && given(&toleration.value) == given(&taint.value),
        "Exists" => true,
        _ => false,
    }
}
