//! Whatever is killed, nothing acknowledged is lost: the short form of `scripts/chaos.sh`.

use coracle_tests::chaos::round;

#[test]
fn a_round_of_chaos_leaves_what_was_asked_for() {
    let verdict = round(1, true);
    println!("{verdict}");
    assert!(verdict.is_good(), "promises were broken: see above");
}
