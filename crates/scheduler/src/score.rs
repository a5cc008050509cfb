//! The plugins that say where a pod would run best.

use crate::cluster::NodeState;
use crate::wanted::Wanted;
use crate::{affinity, fit, neighbours, spread, taints};

/// How a plugin's raw scores become 0 to 100 over the nodes in question.
enum Scale {
    /// They are already.
    AsIs,
    /// The highest becomes 100.
    More,
    /// The highest becomes 0, none 100.
    Fewer,
    /// The lowest becomes 100, and the highest keeps the share that the lowest is of it.
    LessCrowded,
    /// The lowest becomes 0, which may be negative, and the highest 100.
    Between,
}

struct Plugin {
    score: fn(&Wanted, &NodeState) -> i64,
    scale: Scale,
    weight: i64,
}

/// With upstream's weights.
const PLUGINS: [Plugin; 6] = [
    Plugin {
        score: taints::score,
        scale: Scale::Fewer,
        weight: 3,
    },
    Plugin {
        score: affinity::score,
        scale: Scale::More,
        weight: 2,
    },
    Plugin {
        score: spread::score,
        scale: Scale::LessCrowded,
        weight: 2,
    },
    Plugin {
        score: neighbours::score,
        scale: Scale::Between,
        weight: 2,
    },
    Plugin {
        score: fit::least_allocated,
        scale: Scale::AsIs,
        weight: 1,
    },
    Plugin {
        score: fit::balanced,
        scale: Scale::AsIs,
        weight: 1,
    },
];

/// The score of each node, in the order given; the highest is the best.
pub fn score(wanted: &Wanted, states: &[&NodeState]) -> Vec<i64> {
    let mut totals = vec![0; states.len()];
    for plugin in &PLUGINS {
        let raw: Vec<i64> = states.iter().map(|state| (plugin.score)(wanted, state)).collect();
        for (total, scaled) in totals.iter_mut().zip(scale(&plugin.scale, &raw)) {
            *total += plugin.weight * scaled;
        }
    }
    totals
}

fn scale(scale: &Scale, raw: &[i64]) -> Vec<i64> {
    let highest = raw.iter().copied().max().unwrap_or(0);
    let lowest = raw.iter().copied().min().unwrap_or(0);
    let one = |score: i64| match (scale, highest) {
        (Scale::AsIs, _) => score,
        (Scale::Between, _) if highest == lowest => 0,
        (Scale::Between, _) => 100 * (score - lowest) / (highest - lowest),
        (Scale::More, 0) => 0,
        (Scale::More, _) => 100 * score / highest,
        (Scale::Fewer | Scale::LessCrowded, 0) => 100,
        (Scale::Fewer, _) => 100 - 100 * score / highest,
        (Scale::LessCrowded, _) => 100 * (highest + lowest - score) / highest,
    };
    raw.iter().map(|score| one(*score)).collect()
}
