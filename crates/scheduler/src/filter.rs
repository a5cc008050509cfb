//! The plugins that say where a pod cannot run.

use crate::cluster::NodeState;
use crate::wanted::Wanted;
use crate::{affinity, fit, host_ports, neighbours, spread, taints};

/// Why a node does not suit a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// As `kubectl describe` shows them, without the number of nodes.
    pub reasons: Vec<String>,
    /// It would not help if pods left the node.
    pub lasting: bool,
}

impl Misfit {
    /// A misfit that would be there on an empty node, too.
    pub(crate) fn lasting(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
            lasting: true,
        }
    }

    /// A misfit that other pods cause.
    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Self {
            reasons: vec![reason.into()],
            lasting: false,
        }
    }
}

type Filter = fn(&Wanted, &NodeState) -> Result<(), Misfit>;

/// In upstream's order; the first misfit is the one that is told.
const FILTERS: [Filter; 8] = [
    taints::unschedulable,
    affinity::node_name,
    taints::untolerated,
    affinity::selects,
    host_ports::free,
    fit::fits,
    spread::allowed,
    neighbours::allowed,
];

/// Whether the pod can run on the node.
///
/// # Errors
/// The first reason why it cannot.
pub fn filter(wanted: &Wanted, state: &NodeState) -> Result<(), Misfit> {
    FILTERS.iter().try_for_each(|filter| filter(wanted, state))
}
