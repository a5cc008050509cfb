//! Tables as the server sends them and as kubectl prints them: upper-case headings, columns three spaces apart.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Spaces between columns.
const PADDING: usize = 3;
/// Least width of a column, its padding included.
const LEAST: usize = 6;

/// A `meta.k8s.io/v1` Table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Table {
    /// Where a watch may go on.
    pub metadata: TableMeta,
    /// The columns; null in all events of a watch but the first.
    #[serde(deserialize_with = "null_is_empty")]
    pub column_definitions: Vec<Column>,
    /// One row for each object.
    #[serde(deserialize_with = "null_is_empty")]
    pub rows: Vec<Row>,
}

/// Metadata of a table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TableMeta {
    /// Version of the list that the table shows.
    pub resource_version: String,
}

/// A column of a table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Above 0: only shown with `-o wide`.
    pub priority: i32,
}

/// A row of a table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    /// Cells in the order of the columns.
    pub cells: Vec<Value>,
    /// The object, or its metadata, that the row shows.
    pub object: Value,
}

fn null_is_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// How tables are shown.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// Show the columns of `-o wide`.
    pub wide: bool,
    /// Show each object's namespace first.
    pub namespace: bool,
    /// Put this and a slash before each name, `deployment.apps`.
    pub kind: Option<String>,
}

/// The text lines of tables that are printed one after another as one: headings once, columns never narrower than
/// before.
#[derive(Debug)]
pub struct Printer {
    style: Style,
    columns: Vec<Column>,
    widths: Vec<usize>,
}

impl Printer {
    /// A printer that has printed nothing yet.
    pub fn new(style: Style) -> Self {
        Self {
            style,
            columns: Vec::new(),
            widths: Vec::new(),
        }
    }

    /// The lines of `tables`, after a line of headings if none was printed yet. Empty without rows.
    pub fn lines(&mut self, tables: &[Table]) -> String {
        let mut lines = Vec::new();
        for table in tables {
            if self.columns.is_empty() && !table.rows.is_empty() {
                self.columns.clone_from(&table.column_definitions);
                lines.push(self.headings());
            }
            lines.extend(table.rows.iter().map(|row| self.cells(row)));
        }
        align(&lines, &mut self.widths)
    }

    fn shown(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, column)| self.style.wide || column.priority == 0)
    }

    fn headings(&self) -> Vec<String> {
        let namespace = self.style.namespace.then(|| "NAMESPACE".to_owned());
        namespace
            .into_iter()
            .chain(self.shown().map(|(_, column)| column.name.to_uppercase()))
            .collect()
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let metadata = &row.object["metadata"];
        let namespace = self
            .style
            .namespace
            .then(|| metadata["namespace"].as_str().unwrap_or_default().to_owned());
        let cells = self.shown().map(|(index, column)| {
            let text = row.cells.get(index).map_or_else(String::new, cell_text);
            match &self.style.kind {
                Some(kind) if column.name == "Name" => format!("{kind}/{text}"),
                _ => text,
            }
        });
        namespace.into_iter().chain(cells).collect()
    }
}

/// A cell on one line.
pub fn cell_text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.replace('\n', "\\n"),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

/// Lays out `lines` in columns. `widths` holds the columns' widths of earlier calls and is widened where necessary.
pub fn align(lines: &[Vec<String>], widths: &mut Vec<usize>) -> String {
    for line in lines {
        widths.resize(widths.len().max(line.len()), LEAST);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count() + PADDING);
        }
    }
    let mut text = String::new();
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            if index + 1 == line.len() {
                text.push_str(cell);
            } else {
                let width = widths[index];
                let _ = write!(text, "{cell:<width$}");
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Table {
        serde_json::from_value(json!({
            "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0},
                {"name": "Restarts", "priority": 0}, {"name": "Age", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["web-1", "1/1", 0, "5s", "127.10.1.2"], "object": {"metadata": {"namespace": "shop"}}},
                {"cells": ["web-22222", "0/1", 12, "5m30s", "<none>"], "object": {"metadata": {"namespace": "shop"}}}]
        }))
        .expect("a table")
    }

    #[test]
    fn columns_stand_three_spaces_apart_and_wide_ones_are_hidden() {
        let text = Printer::new(Style::default()).lines(&[pods()]);
        assert_eq!(
            text,
            "NAME        READY   RESTARTS   AGE\n\
             web-1       1/1     0          5s\n\
             web-22222   0/1     12         5m30s\n"
        );
    }

    #[test]
    fn wide_with_namespace_and_kind() {
        let style = Style {
            wide: true,
            namespace: true,
            kind: Some("pod".into()),
        };
        let text = Printer::new(style).lines(&[pods()]);
        assert_eq!(
            text,
            "NAMESPACE   NAME            READY   RESTARTS   AGE     IP\n\
             shop        pod/web-1       1/1     0          5s      127.10.1.2\n\
             shop        pod/web-22222   0/1     12         5m30s   <none>\n"
        );
    }

    #[test]
    fn later_lines_keep_the_columns_and_bring_no_headings() {
        let mut printer = Printer::new(Style::default());
        printer.lines(&[pods()]);
        let row = json!({"cells": ["web-1", "1/1", 0, "5s", "127.10.1.2"]});
        let event = json!({"columnDefinitions": null, "rows": [row]});
        let event = serde_json::from_value(event).expect("a table");
        assert_eq!(printer.lines(&[event]), "web-1       1/1     0          5s\n");
    }

    #[test]
    fn narrow_columns_are_six_wide() {
        let lines = [vec!["A".to_owned(), "B".to_owned()]];
        assert_eq!(align(&lines, &mut Vec::new()), "A     B\n");
    }

    #[test]
    fn no_rows_no_text() {
        assert_eq!(Printer::new(Style::default()).lines(&[Table::default()]), "");
    }
}
