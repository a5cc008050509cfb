//! The decision: which node, or why none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::cluster::Cluster;
use crate::filter::{Misfit, filter};
use crate::score::score;
use crate::wanted::Wanted;

/// Why no node suits a pod. Its text is what `kubectl describe pod` shows, in upstream's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFit {
    misfits: Vec<Misfit>,
}

impl std::error::Error for NoFit {}

/// The name of the best node for the pod. Among equals the one with the fewest pods, then the first by name.
///
/// # Errors
/// If no node passes the filters.
pub fn pick<'a>(wanted: &Wanted, cluster: &'a Cluster) -> Result<&'a str, NoFit> {
    let mut names = Vec::new();
    let mut states = Vec::new();
    let mut misfits = Vec::new();
    for (name, state) in cluster.nodes() {
        match filter(wanted, state) {
            Ok(()) => {
                names.push(name);
                states.push(state);
            }
            Err(misfit) => misfits.push(misfit),
        }
    }
    let scores = score(wanted, &states);
    let candidates = names.iter().zip(&states).zip(scores);
    candidates
        .max_by_key(|((name, state), score)| (*score, Reverse(state.pods.len()), Reverse(**name)))
        .map(|((name, _), _)| *name)
        .ok_or(NoFit { misfits })
}

impl fmt::Display for NoFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.misfits.len();
        if nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let reasons = self.misfits.iter().flat_map(|misfit| &misfit.reasons);
        write!(
            f,
            "0/{nodes} nodes are available: {}. ",
            counted(reasons.map(String::as_str))
        )?;
        // There are no resource claims and nobody is preempted here, but the sentence is upstream's: what each plugin says
        // that is asked to make room.
        let preemption = self.misfits.iter().map(|misfit| match misfit.lasting {
            true => "Preemption is not helpful for scheduling",
            false => "No preemption victims found for incoming pod",
        });
        write!(
            f,
            "no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}.",
            counted(preemption)
        )
    }
}

/// `2 Insufficient cpu, 1 Too many pods`, sorted as text.
fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<_> = counts
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    parts.join(", ")
}
