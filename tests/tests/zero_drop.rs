//! No dropped request, whatever is done: the short form of `scripts/zero-drop.sh`.

use coracle_tests::zero_drop::{Choice, run};

#[test]
fn nothing_is_dropped() {
    let table = run(&Choice {
        short: true,
        seed: 1,
        ..Choice::default()
    });
    println!("{table}");
    assert!(table.is_good(), "promises were broken: see the table");
}
