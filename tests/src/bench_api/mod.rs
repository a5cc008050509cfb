//! The benchmark of the API (`scripts/bench-api.sh`): the same work for coracle and for upstream's programs, in one run.
//!
//! Flows in: how much, and where upstream's programs are, if there are any. Flows out: rows of figures, medians of
//! interleaved rounds. Every figure is what a client sees through TLS; memory is what /proc says. Pods are fake on both
//! sides. Never asserts a figure: it only measures.

mod load;
mod pods;
mod proc;
mod target;
mod upstream;
mod watchers;

use std::fmt;

pub use target::Target;
pub use upstream::Programs;

/// Any error of a measurement.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Objects that are created and got.
    pub objects: u32,
    /// Watchers at the same time.
    pub watchers: u32,
    /// Writes in a second while they watch.
    pub writes: u32,
    /// How long they watch, in seconds.
    pub seconds: u32,
    /// Replicas that are rolled.
    pub rollouts: [u32; 2],
    /// Pods that are listed, and that a start finds.
    pub pods: u32,
}

impl Plan {
    /// What is measured.
    pub const LONG: Self = Self {
        objects: 10_000,
        watchers: 1_000,
        writes: 500,
        seconds: 10,
        rollouts: [100, 500],
        pods: 10_000,
    };
    /// Little of everything: to see that it works.
    pub const SHORT: Self = Self {
        objects: 500,
        watchers: 50,
        writes: 100,
        seconds: 1,
        rollouts: [10, 50],
        pods: 200,
    };
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured, and in which unit.
    pub what: String,
    /// How much.
    pub value: f64,
}

impl Figure {
    fn new(what: impl fmt::Display, value: f64) -> Self {
        Self {
            what: what.to_string(),
            value,
        }
    }
}

/// All figures of one round of one side.
///
/// # Errors
/// If the side does not start or does not do what is asked.
pub async fn round(target: &Target, plan: &Plan) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    let small = target.start(target::Size::Small).await?;
    figures.push(Figure::new("start until /readyz, ms", small.start_ms()));
    pods::nodes_ready(&small).await?;
    figures.push(Figure::new("memory with 0 pods, MiB", small.memory()?));
    for replicas in plan.rollouts {
        figures.extend(pods::rollout(&small, replicas).await?);
        let what = format!("memory after {replicas} pods, MiB");
        figures.push(Figure::new(what, small.memory()?));
    }
    figures.extend(load::creates_and_gets(&small, plan).await?);
    figures.extend(watchers::measure(&small, plan).await?);
    small.stop()?;

    let large = target.start(target::Size::Large).await?;
    pods::nodes_ready(&large).await?;
    figures.push(pods::make(&large, plan.pods).await?);
    figures.extend(load::lists(&large, plan).await?);
    let large = large.restart().await?;
    figures.push(Figure::new(
        format!("start with {} pods, ms", plan.pods),
        large.start_ms(),
    ));
    pods::all_known(&large, plan.pods).await?;
    let what = format!("memory with {} pods, MiB", plan.pods);
    figures.push(Figure::new(what, large.memory()?));
    large.stop()?;
    Ok(figures)
}

/// The medians of several rounds, as a table of Markdown; with a peer, its figures and the ratios to them.
pub fn table(own: &[Vec<Figure>], peer: &[Vec<Figure>]) -> String {
    let mut table = String::from("| | coracle |");
    if !peer.is_empty() {
        table.push_str(" upstream | coracle / upstream |");
    }
    table.push_str("\n|---|---|");
    if !peer.is_empty() {
        table.push_str("---|---|");
    }
    for (row, figure) in own.first().into_iter().flatten().enumerate() {
        let own = Spread::of(own, row);
        table.push_str(&format!("\n| {} | {own} |", figure.what));
        if !peer.is_empty() {
            let peer = Spread::of(peer, row);
            table.push_str(&format!(" {peer} | {:.2} |", own.median / peer.median));
        }
    }
    table
}

/// Median, least and greatest of one row.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(rounds: &[Vec<Figure>], row: usize) -> Self {
        let mut values: Vec<f64> = rounds
            .iter()
            .filter_map(|figures| figures.get(row))
            .map(|figure| figure.value)
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(values.len() / 2),
            least: at(0),
            greatest: at(values.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 2 } else { 0 };
        let Self {
            median,
            least,
            greatest,
        } = self;
        write!(f, "{median:.digits$} ({least:.digits$}-{greatest:.digits$})")
    }
}
