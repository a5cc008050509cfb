//! The demo's last words: what came of it. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use super::bars;
use super::screen::Screen;
use super::text::{Line, Style, grouped};
use super::traffic::Tally;

/// What came of the demo.
pub struct Outcome {
    /// What the load clients counted.
    pub tally: Tally,
    /// The rollouts, in order.
    pub rollouts: Vec<Rollout>,
    /// The images, the first one first.
    pub versions: [String; 2],
    /// How long each new pod was watched before the next one was replaced.
    pub min_ready_seconds: u8,
}

/// A rollout under load.
pub struct Rollout {
    /// What it was.
    pub name: String,
    /// How long it took until all new pods were available and no old one counted.
    pub took: Duration,
}

impl Outcome {
    /// Whether neither client has seen a dropped request.
    pub fn is_clean(&self) -> bool {
        self.tally.strict.failed() == 0 && self.tally.wrk.as_ref().is_none_or(|wrk| wrk.errors() == 0)
    }
}

/// The report as text.
pub fn text(outcome: &Outcome, screen: &Screen) -> String {
    let (width, colours) = screen.width();
    let mut text = String::new();
    for line in lines(outcome, width) {
        let _ = writeln!(text, "{}", line.paint(usize::MAX, colours));
    }
    text
}

fn lines(outcome: &Outcome, width: usize) -> Vec<Line> {
    let strict = &outcome.tally.strict;
    let mut lines = vec![
        Line::default(),
        Line::new(Style::Bold, "Requests over time, by the version that answered"),
    ];
    lines.extend(timeline(outcome, width));
    lines.push(Line::default());
    let pace = match outcome.min_ready_seconds {
        0 => String::new(),
        seconds => {
            format!("   (a new pod is watched for {seconds} s before the next step: --min-ready-seconds)")
        }
    };
    for rollout in &outcome.rollouts {
        lines.push(entry(
            &rollout.name,
            format!("{:.1} s{pace}", rollout.took.as_secs_f64()),
        ));
    }
    let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let latency = quantiles.map(|(name, share)| format!("{name} {}", milliseconds(strict.quantile(share))));
    lines.push(entry("Latency", latency.join("   ")));
    lines.push(verdict(
        "Strict client",
        strict.failed(),
        format!(
            "{} requests, {} dropped",
            grouped(strict.requests),
            grouped(strict.failed())
        ),
    ));
    for (cause, count) in &strict.causes {
        lines.push(Line::new(
            Style::Bad,
            format!("    {} x {cause}", grouped(*count)),
        ));
    }
    for failure in strict.failures.iter().take(5) {
        lines.push(Line::new(Style::Dim, format!("    {failure}")));
    }
    lines.push(match &outcome.tally.wrk {
        None => entry("wrk", "not installed".to_owned()),
        Some(wrk) => verdict(
            "wrk",
            wrk.errors(),
            format!(
                "{} requests; errors: connect {}, read {}, write {}, timeout {}; non-2xx {}",
                grouped(wrk.requests),
                wrk.connect,
                wrk.read,
                wrk.write,
                wrk.timeout,
                wrk.non_2xx
            ),
        ),
    });
    lines.push(Line::default());
    lines.push(if outcome.is_clean() {
        Line::new(Style::New, "Not one request was dropped.")
    } else {
        Line::new(Style::Bad, "Requests were dropped.")
    });
    lines
}

/// A sparkline for each version, one for failures if there are any.
fn timeline(outcome: &Outcome, width: usize) -> Vec<Line> {
    let report = &outcome.tally.strict;
    let series = |version: &str| -> Vec<u64> {
        report
            .timeline
            .iter()
            .map(|bucket| bucket.versions.get(version).copied().unwrap_or_default())
            .collect()
    };
    let room = width.saturating_sub(40).max(10);
    let squeezed = outcome
        .versions
        .clone()
        .map(|version| bars::squeeze(&series(&version), room));
    let highest = squeezed.iter().flatten().copied().max().unwrap_or_default();
    let totals = report.versions();
    let mut lines = Vec::new();
    for ((version, values), style) in outcome
        .versions
        .iter()
        .zip(&squeezed)
        .zip([Style::Old, Style::New])
    {
        let total = totals.get(version.as_str()).copied().unwrap_or_default();
        lines.push(
            Line::new(Style::Plain, format!("  {version:<20} "))
                .with(style, bars::sparkline(values, highest))
                .with(Style::Plain, format!("  {}", grouped(total))),
        );
    }
    let failed: Vec<u64> = report.timeline.iter().map(|bucket| bucket.failed).collect();
    if report.failed() > 0 {
        let failed = bars::squeeze(&failed, room);
        let highest = failed.iter().copied().max().unwrap_or_default();
        let line = Line::new(Style::Plain, format!("  {:<20} ", "dropped"));
        lines.push(line.with(Style::Bad, bars::sparkline(&failed, highest)));
    }
    lines
}

fn entry(name: &str, value: String) -> Line {
    Line::new(Style::Bold, format!("{name:<30} ")).with(Style::Plain, value)
}

fn verdict(name: &str, errors: u64, value: String) -> Line {
    Line::new(Style::Bold, format!("{name:<30} "))
        .with(if errors == 0 { Style::New } else { Style::Bad }, value)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
