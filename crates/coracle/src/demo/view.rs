//! Draws a [`Scene`] as lines of text. Pure.

use crate::verbs::table::align;

use super::bars;
use super::pods::{Pod, Pods};
use super::scene::{Flow, Scene};
use super::text::{Line, Style, grouped};

/// The frame for a terminal of this size; never more lines than fit. `columns` holds the widths of the table's columns in
/// earlier frames, so that the table does not jump.
pub fn frame(scene: &Scene, width: usize, height: usize, columns: &mut Vec<usize>) -> Vec<Line> {
    let mut lines = vec![Line::default(), progress(scene, width), Line::default()];
    let mut below = vec![Line::default()];
    below.extend(scene.flow.iter().flat_map(|flow| traffic(flow, width)));
    let mut table = table(scene, width, columns);
    let room = height.saturating_sub(lines.len() + below.len() + 1);
    if table.len() > room {
        let hidden = table.len() - room.saturating_sub(1);
        table.truncate(room.saturating_sub(1));
        table.extend((room > 1).then(|| Line::new(Style::Dim, format!("  ... and {hidden} more"))));
    }
    lines.append(&mut table);
    lines.append(&mut below);
    lines
}

fn progress(scene: &Scene, width: usize) -> Line {
    let (full, empty) = bars::progress(scene.done, scene.total, width.saturating_sub(60).clamp(8, 40));
    Line::new(Style::Bold, format!("  {:<28} ", scene.step))
        .with(Style::New, full)
        .with(Style::Dim, empty)
        .with(Style::Plain, format!("  {} of {} pods", scene.done, scene.total))
        .with(Style::Dim, format!("  {:.1} s", scene.elapsed.as_secs_f64()))
}

fn table(scene: &Scene, width: usize, columns: &mut Vec<usize>) -> Vec<Line> {
    let text = columns_that_fit(&scene.pods, width.saturating_sub(2), columns);
    let is_original = |pod: &Pod| scene.original.is_empty() || scene.original.contains(&pod.hash);
    let style = |pod: &Pod| match (pod.terminating, pod.ready, is_original(pod)) {
        (true, _, _) => Style::Dim,
        (_, true, true) => Style::Old,
        (_, true, false) => Style::New,
        _ => Style::Plain,
    };
    let styles = std::iter::once(Style::Bold).chain(scene.pods.rows.iter().map(style));
    text.lines()
        .zip(styles)
        .map(|(line, style)| Line::new(style, format!("  {line}")))
        .collect()
}

/// The table without the last columns where they do not fit.
fn columns_that_fit(pods: &Pods, width: usize, widths: &mut Vec<usize>) -> String {
    let mut columns = pods.headings.len();
    loop {
        let cut = |cells: &Vec<String>| cells.iter().take(columns).cloned().collect();
        let rows = pods.rows.iter().map(|pod| cut(&pod.cells));
        let lines: Vec<Vec<String>> = std::iter::once(cut(&pods.headings)).chain(rows).collect();
        let text = align(&lines, widths);
        if columns <= 3 || text.lines().all(|line| line.chars().count() <= width) {
            return text;
        }
        columns -= 1;
    }
}

fn traffic(flow: &Flow, width: usize) -> Vec<Line> {
    let [(old, old_rate), (new, new_rate)] = &flow.per_second;
    let widths = bars::shares(&[*old_rate, *new_rate], width.saturating_sub(60).clamp(8, 40));
    let bar = Line::new(Style::Plain, format!("  {:<28} ", "Requests a second"))
        .with(Style::Old, "█".repeat(widths[0]))
        .with(Style::New, "█".repeat(widths[1]))
        .with(Style::Old, format!("  {old} {}", grouped(*old_rate)))
        .with(Style::New, format!("  {new} {}", grouped(*new_rate)));
    let style = if flow.dropped == 0 { Style::New } else { Style::Bad };
    let dropped = Line::new(Style::Plain, format!("  {:<28} ", "Dropped requests"))
        .with(style, grouped(flow.dropped))
        .with(Style::Dim, format!(" of {}", grouped(flow.requests)));
    vec![bar, dropped]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::pods::tests::pods;
    use super::*;

    fn scene() -> Scene {
        Scene {
            step: "Rolling update to nginx:1.8".into(),
            elapsed: Duration::from_millis(1250),
            done: 1,
            total: 4,
            pods: pods(&[
                ("web-1-a", "1/1", "Running", "1"),
                ("web-2-b", "0/1", "ContainerCreating", "2"),
            ]),
            original: BTreeSet::from(["1".to_owned()]),
            flow: Some(Flow {
                per_second: [("nginx:1.7.9".into(), 1500), ("nginx:1.8".into(), 500)],
                requests: 12345,
                dropped: 0,
            }),
        }
    }

    fn drawn(width: usize, height: usize) -> Vec<String> {
        frame(&scene(), width, height, &mut Vec::new())
            .iter()
            .map(|line| line.paint(width, false))
            .collect()
    }

    #[test]
    fn everything_in_a_wide_terminal() {
        let lines = drawn(140, 40);
        assert_eq!(
            lines[1],
            "  Rolling update to nginx:1.8  ██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  1 of 4 pods  1.2 s"
        );
        assert_eq!(
            lines[3],
            "  NAME      READY   STATUS              RESTARTS   AGE   IP           NODE     NOMINATED NODE   READINESS GATES"
        );
        assert_eq!(
            lines[7],
            "  Requests a second            ████████████████████████████████████████  nginx:1.7.9 1,500  nginx:1.8 500"
        );
        assert_eq!(lines[8], "  Dropped requests             0 of 12,345");
    }

    #[test]
    fn a_narrow_terminal_loses_the_last_columns_and_a_low_one_the_last_pods() {
        assert_eq!(
            drawn(60, 40)[3].trim_end(),
            "  NAME      READY   STATUS              RESTARTS   AGE"
        );
        assert_eq!(drawn(60, 9)[4], "  ... and 2 more");
        for height in 7..12 {
            assert!(drawn(60, height).len() < height);
        }
        assert!(drawn(20, 40).iter().all(|line| line.chars().count() <= 20));
    }
}
