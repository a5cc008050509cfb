//! Prometheus' text format, version 0.0.4: families of samples with labels.

use std::fmt::{Display, Write as _};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label's name and value.
pub type Label<'a> = (&'a str, &'a str);

/// What the samples of a family are.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by class.
    Histogram,
}

/// A text that grows family by family.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family that has begun last.
    pub fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str(r"\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str(r"\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A histogram of times: how many in each class, whose upper bounds are in microseconds and of which the last has
    /// none, and the sum of all.
    pub fn histogram(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        (bounds, counts): (&[u64], &[u64]),
        microseconds: u64,
    ) {
        let (bucket, mut so_far) = (format!("{name}_bucket"), 0);
        let names = bounds
            .iter()
            .map(|bound| seconds(*bound))
            .chain(["+Inf".to_owned()]);
        for (bound, count) in names.zip(counts) {
            so_far += count;
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, so_far);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(microseconds));
        self.sample(&format!("{name}_count"), labels, so_far);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Microseconds as seconds, exactly.
fn seconds(microseconds: u64) -> String {
    let text = format!("{}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_carry_their_labels_escaped() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "back\\slash\nand line");
        text.sample("a_total", &[], 1);
        text.sample("a_total", &[("x", "a\"b\\c\nd"), ("y", "")], 2.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total back\\\\slash\\nand line\n# TYPE a_total counter\na_total 1\n\
             a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 2.5\n"
        );
    }

    #[test]
    fn classes_of_a_histogram_add_up() {
        let mut text = Text::default();
        text.histogram(
            "t_seconds",
            &[("a", "b")],
            (&[100, 2_500_000], &[2, 1, 4]),
            12_000_050,
        );
        assert_eq!(
            text.finish(),
            "t_seconds_bucket{a=\"b\",le=\"0.0001\"} 2\n\
             t_seconds_bucket{a=\"b\",le=\"2.5\"} 3\n\
             t_seconds_bucket{a=\"b\",le=\"+Inf\"} 7\n\
             t_seconds_sum{a=\"b\"} 12.00005\n\
             t_seconds_count{a=\"b\"} 7\n"
        );
    }

    #[test]
    fn seconds_are_exact() {
        for (micros, text) in [(0, "0"), (1, "0.000001"), (10_000_000, "10"), (1_500_000, "1.5")] {
            assert_eq!(seconds(micros), text);
        }
    }
}
