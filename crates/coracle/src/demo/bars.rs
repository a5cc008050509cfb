//! Small pictures in a line of text: a sparkline, a progress bar, a bar of shares. Pure.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One character for each value, as high as the value is against `highest`; a blank for 0.
pub fn sparkline(values: &[u64], highest: u64) -> String {
    values.iter().map(|&value| level(value, highest)).collect()
}

fn level(value: u64, highest: u64) -> char {
    if value == 0 || highest == 0 {
        return ' ';
    }
    let steps = LEVELS.len() as u64;
    let step = (value.min(highest) * steps).div_ceil(highest).clamp(1, steps) - 1;
    LEVELS[usize::try_from(step).unwrap_or_default()]
}

/// The full and the empty part of a bar of `width` characters.
pub fn progress(done: usize, total: usize, width: usize) -> (String, String) {
    let full = (width * done.min(total)).checked_div(total).unwrap_or_default();
    ("█".repeat(full), "░".repeat(width - full))
}

/// How many of `width` characters each count gets; every count above 0 gets at least one where there is room.
pub fn shares(counts: &[u64], width: usize) -> Vec<usize> {
    let total: u64 = counts.iter().sum();
    let mut widths: Vec<usize> = counts
        .iter()
        .map(|&count| match (count * width as u64).checked_div(total) {
            Some(share) => usize::try_from(share)
                .unwrap_or(width)
                .max(usize::from(count > 0)),
            None => 0,
        })
        .collect();
    // What rounding left over or took too much goes to the widest.
    if total > 0
        && let Some(widest) = (0..widths.len()).max_by_key(|&index| widths[index])
    {
        let others: usize = widths.iter().sum::<usize>() - widths[widest];
        widths[widest] = width.saturating_sub(others);
    }
    widths
}

/// Joins neighbouring values until at most `most` are left, so that a long run fits a line.
pub fn squeeze(values: &[u64], most: usize) -> Vec<u64> {
    let together = values.len().div_ceil(most.max(1)).max(1);
    values
        .chunks(together)
        .map(|chunk| chunk.iter().sum::<u64>() / chunk.len() as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_even_the_smallest_value() {
        assert_eq!(sparkline(&[0, 1, 50, 100, 200], 100), " ▁▄██");
        assert_eq!(sparkline(&[0, 3], 0), "  ");
    }

    #[test]
    fn progress_fills_up() {
        assert_eq!(progress(1, 4, 8), ("██".to_owned(), "░".repeat(6)));
        assert_eq!(progress(9, 4, 4).0, "████");
        assert_eq!(progress(0, 0, 2).1, "░░");
    }

    #[test]
    fn shares_fill_the_width_exactly() {
        assert_eq!(shares(&[999, 1], 10), [9, 1]);
        assert_eq!(shares(&[1, 1, 1], 10).iter().sum::<usize>(), 10);
        assert_eq!(shares(&[0, 0], 10), [0, 0]);
    }

    #[test]
    fn squeezing_keeps_the_mean() {
        assert_eq!(squeeze(&[1, 3, 5, 7, 9], 3), [2, 6, 9]);
        assert_eq!(squeeze(&[1, 2], 10), [1, 2]);
        assert!(squeeze(&[], 10).is_empty());
    }
}
