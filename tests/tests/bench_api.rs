//! That the benchmark of the API measures: not what.

use coracle_tests::bench_api::{Plan, Target, round, table};

#[tokio::test(flavor = "multi_thread")]
async fn every_figure_of_the_api_is_measured() {
    let figures = round(&Target::Coracle, &Plan::SHORT).await.expect("a round");
    assert!(figures.iter().all(|figure| figure.value > 0.0), "{figures:#?}");
    let one = std::slice::from_ref(&figures);
    let both = table(one, one);
    assert_eq!(both.lines().count(), figures.len() + 2, "{both}");
    assert_eq!(both.matches("| 1.00 |").count(), figures.len(), "{both}");
}
