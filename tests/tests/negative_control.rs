//! The judges on a balancer that lets requests drop: they must see it.

use coracle_tests::naive;

#[test]
fn a_naive_balancer_is_seen_to_drop() {
    let verdict = naive::roll();
    println!("{verdict}");
    let wrk = verdict.wrk[0];
    assert!(wrk.failed() > 0, "wrk saw nothing: {verdict}");
    assert!(
        verdict.strict[0].unannounced_closes > 0,
        "the strict client saw nothing: {verdict}"
    );
    assert!(verdict.failed() > 40, "hardly any drops were seen: {verdict}");
}
