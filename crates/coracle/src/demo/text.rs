//! Lines of text with colours, cut to the width of the terminal.

use std::fmt::Write as _;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Less bright.
    Dim,
    /// Brighter.
    Bold,
    /// The version that was there first.
    Old,
    /// The version that comes; also what went well.
    New,
    /// What went wrong.
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Old => "36",
            Self::New => "32",
            Self::Bad => "1;31",
        }
    }
}

/// A line of differently styled pieces.
#[derive(Clone, Debug, Default)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// A line of one piece.
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self::default().with(style, text)
    }

    /// The line with another piece at its end.
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// The line's characters, at most `width` of them, with colours or without.
    pub fn paint(&self, width: usize, colours: bool) -> String {
        let mut painted = String::new();
        let mut room = width;
        for (style, text) in &self.0 {
            let piece: String = text.chars().take(room).collect();
            room -= piece.chars().count();
            if !colours || *style == Style::Plain || piece.is_empty() {
                painted.push_str(&piece);
            } else {
                let _ = write!(painted, "\x1b[{}m{piece}\x1b[0m", style.code());
            }
        }
        painted
    }
}

/// A number with a comma after every three digits.
pub fn grouped(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_characters_and_not_by_colour_codes() {
        let line = Line::new(Style::Bold, "äöü").with(Style::Plain, "xyz");
        assert_eq!(line.paint(4, false), "äöüx");
        assert_eq!(line.paint(2, true), "\x1b[1mäö\x1b[0m");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
