//! Sessions at a terminal with the oldest and the newest kubectl, held against what upstream answers: tests/transcripts.

use std::path::Path;
use std::thread;

use coracle_tests::{Cluster, Options, programs, transcript};

/// Each kubectl has a cluster of its own, and they play at the same time.
fn play(transcripts: &[&str]) {
    let kubectls = programs::oldest_and_newest_kubectl();
    thread::scope(|scope| {
        for kubectl in &kubectls {
            scope.spawn(|| play_with(kubectl, transcripts));
        }
    });
}

fn play_with(kubectl: &Path, transcripts: &[&str]) {
    let cluster = Cluster::start_with(Options {
        nodes: 2,
        kubectl: Some(kubectl.to_owned()),
        ..Options::default()
    });
    transcript::play(&cluster.kubectl(), transcripts);
    cluster.stop();
}

#[test]
fn objects_are_made_by_generators_and_changed_by_set_edit_patch_replace_and_apply() {
    play(&[
        include_str!("../transcripts/create.txt"),
        include_str!("../transcripts/make.txt"),
        include_str!("../transcripts/set.txt"),
        include_str!("../transcripts/change.txt"),
    ]);
}

#[test]
fn rollouts_and_nodes_are_followed_described_undone_and_drained() {
    play(&[
        include_str!("../transcripts/rollout.txt"),
        include_str!("../transcripts/nodes.txt"),
    ]);
}

#[test]
fn objects_are_shown_explained_and_deleted() {
    play(&[
        include_str!("../transcripts/get.txt"),
        include_str!("../transcripts/debug.txt"),
        include_str!("../transcripts/describe.txt"),
        include_str!("../transcripts/delete.txt"),
        include_str!("../transcripts/discovery.txt"),
    ]);
}
