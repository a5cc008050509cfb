//! The result: one table, which is Markdown too, its totals, and each failure with its cause.

use std::fmt;

use super::CONTROL;
use super::scenario::Cell;

/// The columns.
const HEAD: [&str; 10] = [
    "#",
    "server",
    "event",
    "times",
    "traffic",
    "requests",
    "failed",
    "reconnects",
    "twice",
    "verdict",
];

/// The longest verdict that fits a column, in bytes.
const LONGEST: usize = 40;

/// All cells of a run.
#[derive(Debug, Default)]
pub struct Table {
    /// The cells, in the plan's order.
    pub cells: Vec<Cell>,
    /// What is wrong about the cluster's end; `None`: it left nothing behind.
    pub unclean: Option<String>,
}

impl Table {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        !self.cells.is_empty() && self.unclean.is_none() && self.cells.iter().all(|cell| cell.wrong.is_none())
    }

    fn rows(&self) -> Vec<[String; 10]> {
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(self.cells.iter().map(row));
        rows
    }
}

fn row(cell: &Cell) -> [String; 10] {
    let count = &cell.count;
    let verdict = match &cell.wrong {
        // Below the table there is room for all of it.
        Some(why) if why.len() > LONGEST => "WRONG: see below".into(),
        Some(why) => format!("WRONG: {why}"),
        None if cell.may_fail => "ok (may fail)".into(),
        None => "ok".into(),
    };
    [
        cell.row.to_string(),
        cell.server.clone(),
        cell.event.clone(),
        cell.times.to_string(),
        cell.shape.clone(),
        grouped(count.requests),
        grouped(count.failures()),
        grouped(count.reconnects),
        cell.twice.map_or_else(|| "-".into(), grouped),
        verdict,
    ]
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| {
                rows.iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (index, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                for width in &widths {
                    write!(f, "|{:-<1$}", "", width + 2)?;
                }
                writeln!(f, "|")?;
            }
        }
        // The control's requests are not coracle's.
        let ours = || self.cells.iter().filter(|cell| cell.row != CONTROL);
        let sum = |value: fn(&Cell) -> u64| grouped(ours().map(value).sum());
        let strict = |value: fn(&Cell) -> u64| grouped(ours().filter(|cell| !cell.may_fail).map(value).sum());
        writeln!(
            f,
            "\n{} requests, {} of them where nothing may fail: failed {}; executed twice: {}; cells: {}, not as promised: {}",
            sum(|cell| cell.count.requests),
            strict(|cell| cell.count.requests),
            strict(|cell| cell.count.failures()),
            sum(|cell| cell.twice.unwrap_or(0)),
            self.cells.len(),
            self.cells.iter().filter(|cell| cell.wrong.is_some()).count(),
        )?;
        self.cells.iter().try_for_each(|cell| failures(f, cell))?;
        match &self.unclean {
            Some(why) => writeln!(f, "\nthe cluster did not end as it should: {why}"),
            None => Ok(()),
        }
    }
}

/// Causes, and the first failures one by one.
fn failures(f: &mut fmt::Formatter<'_>, cell: &Cell) -> fmt::Result {
    if cell.count.failures() == 0 && cell.wrong.is_none() {
        return Ok(());
    }
    writeln!(
        f,
        "\nrow {}, {}, {}, {}:",
        cell.row, cell.server, cell.event, cell.shape
    )?;
    if let Some(why) = &cell.wrong {
        writeln!(f, "  {why}")?;
    }
    for (cause, count) in &cell.count.failed {
        writeln!(f, "  {count} x {cause}")?;
    }
    cell.count
        .told
        .iter()
        .try_for_each(|told| writeln!(f, "  {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn a_run_without_cells_is_no_success() {
        assert!(!Table::default().is_good());
    }
}
