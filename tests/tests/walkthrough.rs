//! The walkthrough, word for word, with the oldest supported kubectl and the newest to be found.

use coracle_tests::{Cluster, Options, programs, walkthrough};

#[test]
fn the_walkthrough_runs_with_the_kubectl_of_the_machine() {
    let cluster = Cluster::start();
    walkthrough::run(&cluster.kubectl());
    cluster.stop();
}

#[test]
fn the_walkthrough_runs_with_the_oldest_and_the_newest_kubectl() {
    for program in programs::oldest_and_newest_kubectl() {
        println!("{}", program.display());
        let cluster = Cluster::start_with(Options {
            kubectl: Some(program),
            ..Options::default()
        });
        walkthrough::run(&cluster.kubectl());
        cluster.stop();
    }
}
