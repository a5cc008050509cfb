//! Where the demo is shown: redrawn in place in a terminal, else as plain lines whenever something changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Instant;

use super::scene::Scene;
use super::text::{Line, Style};
use super::view;

/// The demo's output.
pub struct Screen {
    started: Instant,
    kind: Kind,
}

enum Kind {
    Terminal(Terminal),
    Plain(Plain),
}

/// A terminal; the last lines are the frame that is drawn over and over.
struct Terminal {
    colours: bool,
    /// Lines of the frame that is on the screen.
    drawn: usize,
    /// Widths of the table's columns so far.
    columns: Vec<usize>,
    cursor_hidden: bool,
}

/// No terminal: what was told already.
#[derive(Default)]
struct Plain {
    /// READY and STATUS of each pod as last told.
    pods: BTreeMap<String, String>,
    progress: String,
}

impl Screen {
    /// The screen that standard output is. Times count from `started`.
    pub fn open(started: Instant) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !stdout().is_terminal() || dumb {
            return Self {
                started,
                kind: Kind::Plain(Plain::default()),
            };
        }
        let colours = std::env::var_os("NO_COLOR").is_none();
        put("\x1b[?25l");
        Self {
            started,
            kind: Kind::Terminal(Terminal {
                colours,
                drawn: 0,
                columns: Vec::new(),
                cursor_hidden: true,
            }),
        }
    }

    /// How many columns a line may have, and whether colours may be used.
    pub fn width(&self) -> (usize, bool) {
        match &self.kind {
            Kind::Terminal(terminal) => (size().0, terminal.colours),
            Kind::Plain(_) => (100, false),
        }
    }

    /// Writes a line that stays.
    pub fn say(&mut self, text: &str) {
        let time = format!("{:>6.2} s  ", self.started.elapsed().as_secs_f64());
        match &mut self.kind {
            Kind::Terminal(terminal) => {
                let line = Line::new(Style::Dim, time).with(Style::Plain, text);
                terminal.clear();
                put(&format!("{}\n", line.paint(size().0, terminal.colours)));
            }
            Kind::Plain(_) => put(&format!("{time}{text}\n")),
        }
    }

    /// Shows the scene.
    pub fn show(&mut self, scene: &Scene) {
        match &mut self.kind {
            Kind::Terminal(terminal) => terminal.draw(scene),
            Kind::Plain(plain) => {
                for line in plain.changes(scene) {
                    self.say(&line);
                }
            }
        }
    }

    /// Leaves the last frame where it is and gives the cursor back.
    pub fn close(&mut self) {
        if let Kind::Terminal(terminal) = &mut self.kind
            && std::mem::take(&mut terminal.cursor_hidden)
        {
            terminal.drawn = 0;
            put("\x1b[?25h");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

impl Terminal {
    fn draw(&mut self, scene: &Scene) {
        let (width, height) = size();
        let lines = view::frame(scene, width, height, &mut self.columns);
        let mut text = self.back_to_top();
        for line in &lines {
            let _ = writeln!(text, "{}\x1b[K", line.paint(width, self.colours));
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        put(&text);
    }

    fn clear(&mut self) {
        let text = self.back_to_top() + "\x1b[J";
        self.drawn = 0;
        put(&text);
    }

    fn back_to_top(&self) -> String {
        if self.drawn == 0 {
            String::new()
        } else {
            format!("\x1b[{}A\r", self.drawn)
        }
    }
}

impl Plain {
    fn changes(&mut self, scene: &Scene) -> Vec<String> {
        let mut lines = Vec::new();
        let mut pods = BTreeMap::new();
        for pod in &scene.pods.rows {
            let cell = |index: usize| pod.cells.get(index).map_or("", String::as_str);
            let state = format!("{} {}", cell(1), cell(2));
            if self.pods.get(pod.name()) != Some(&state) {
                lines.push(format!("pod {}  {state}  {}  {}", pod.name(), cell(5), cell(6)));
            }
            pods.insert(pod.name().to_owned(), state);
        }
        for name in self.pods.keys().filter(|name| !pods.contains_key(*name)) {
            lines.push(format!("pod {name}  gone"));
        }
        self.pods = pods;
        let progress = format!("{}: {} of {} pods", scene.step, scene.done, scene.total);
        if progress != self.progress {
            let dropped = scene.flow.as_ref().map(|flow| {
                let [(old, old_rate), (new, new_rate)] = &flow.per_second;
                format!(
                    "; requests a second: {old} {old_rate}, {new} {new_rate}; dropped {}",
                    flow.dropped
                )
            });
            lines.push(format!("{progress}{}", dropped.unwrap_or_default()));
            self.progress = progress;
        }
        lines
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// A demo that nobody watches any more goes on: its exit code still counts.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::super::pods::tests::pods;
    use super::*;

    #[test]
    fn without_a_terminal_only_changes_are_told() {
        let mut plain = Plain::default();
        let mut scene = Scene {
            step: "Apply".into(),
            total: 2,
            ..Scene::default()
        };
        scene.pods = pods(&[("a", "0/1", "ContainerCreating", "1")]);
        assert_eq!(
            plain.changes(&scene),
            [
                "pod a  0/1 ContainerCreating  127.10.1.2  node-1",
                "Apply: 0 of 2 pods"
            ]
        );
        assert!(plain.changes(&scene).is_empty());
        scene.pods = pods(&[("b", "1/1", "Running", "1")]);
        scene.done = 1;
        assert_eq!(
            plain.changes(&scene),
            [
                "pod b  1/1 Running  127.10.1.2  node-1",
                "pod a  gone",
                "Apply: 1 of 2 pods"
            ]
        );
    }
}
