//! Sessions at a terminal with the oldest and the newest kubectl, held against what upstream answers: tests/transcripts.

use coracle_tests::{Cluster, Options, transcript};

/// Plays transcripts one after another on one cluster; each removes what it made.
fn play(transcripts: &[&str]) {
    let cluster = Cluster::start_with(Options {
        nodes: 2,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    for transcript in transcripts {
        transcript::play_with_oldest_and_newest(&kubectl, transcript);
    }
    cluster.stop();
}

#[test]
fn objects_are_made_by_generators_run_expose_scale_and_autoscale() {
    play(&[
        include_str!("../transcripts/create.txt"),
        include_str!("../transcripts/make.txt"),
    ]);
}

#[test]
fn objects_are_changed_by_set_label_edit_patch_replace_and_apply() {
    play(&[
        include_str!("../transcripts/set.txt"),
        include_str!("../transcripts/change.txt"),
    ]);
}

#[test]
fn a_rollout_is_followed_waited_for_described_and_undone() {
    play(&[include_str!("../transcripts/rollout.txt")]);
}
