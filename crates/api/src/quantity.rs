//! Quantities: `500m`, `1.5Gi`, `1e3`, exactly as Kubernetes reads and writes them.
//!
//! Flows in: text. Flows out: exact numbers and the canonical text. Never goes through a floating-point number.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Nano-units in one.
const NANO: i128 = 1_000_000_000;

/// What upstream says of text that is no quantity at all.
pub const WRONG_FORM: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// An exact amount, in billionths. More precise ones are rounded up, larger ones capped at 2^63-1, as upstream.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    nano: i128,
    form: Form,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `m`, none, `k`, `M` ...
    Decimal,
    /// `Ki`, `Mi` ...
    Binary,
    /// `1e3`
    Exponent,
}

/// Text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a number followed by a suffix.
    #[error("{WRONG_FORM}")]
    Form,
    /// A suffix that does not exist.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Amount {
    /// Thousandths, rounded up: the unit of cpu.
    #[must_use]
    pub fn milli(self) -> i64 {
        saturate(div_up(self.nano, NANO / 1000))
    }

    /// Whole units, rounded up: bytes, counts.
    #[must_use]
    pub fn value(self) -> i64 {
        saturate(div_up(self.nano, NANO))
    }

    /// An amount of whole units, written with binary suffixes: memory.
    #[must_use]
    pub fn from_bytes(bytes: i64) -> Self {
        Self {
            nano: i128::from(bytes) * NANO,
            form: Form::Binary,
        }
    }

    /// An amount of thousandths: cpu.
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self {
            nano: i128::from(milli) * (NANO / 1000),
            form: Form::Decimal,
        }
    }

    /// About how much it is: for ratios.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio is printed with six digits")]
    pub fn as_f64(self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    /// Whether the amount is above zero.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.nano > 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether the amount has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// The canonical text of a quantity: no fraction, the largest suffix that loses nothing.
///
/// # Errors
/// If `text` is no quantity.
pub fn canonical(text: &str) -> Result<String, ParseError> {
    text.parse::<Amount>().map(|amount| amount.to_string())
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits_end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || !is_suffix_like(suffix) {
            return Err(ParseError::Form);
        }
        let (form, scale) = parse_suffix(suffix)?;
        let mut nano = scaled(whole, fraction, scale);
        if text.starts_with('-') {
            nano = -nano;
        }
        // Only whole amounts can be written with binary suffixes.
        let form = if form == Form::Binary && nano % NANO != 0 {
            Form::Decimal
        } else {
            form
        };
        Ok(Self { nano, form })
    }
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    /// 10^n
    Ten(i32),
    /// 2^n
    Two(u32),
}

/// Whether `suffix` has the form of one: letters of suffixes, then a sign, then digits.
fn is_suffix_like(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

fn parse_suffix(suffix: &str) -> Result<(Form, Scale), ParseError> {
    let ten = |n| Ok((Form::Decimal, Scale::Ten(n)));
    let two = |n| Ok((Form::Binary, Scale::Two(n)));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            digits
                .parse()
                .map(|n| (Form::Exponent, Scale::Ten(n)))
                .map_err(|_| ParseError::Suffix)
        }
    }
}

/// `whole.fraction` times `scale` in nano-units, rounded up and capped.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    // 19 digits hold 2^63-1; what is cut off is beyond the cap or beyond a nano-unit after scaling (rounded up).
    let cap = i128::from(i64::MAX) * NANO;
    let whole = whole.trim_start_matches('0');
    if whole.len() > 38 {
        return cap;
    }
    let kept = &fraction[..fraction.len().min(38 - whole.len().min(37))];
    let lost = fraction[kept.len()..].bytes().any(|b| b != b'0');
    let digits: i128 = format!("0{whole}{kept}").parse().unwrap_or(i128::MAX);
    let places = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    let (factor, power) = match scale {
        Scale::Ten(n) => (1, n.saturating_add(9).saturating_sub(places)),
        Scale::Two(n) => (1i128 << n, 9 - places),
    };
    let exact = digits.checked_mul(factor).unwrap_or(i128::MAX);
    let amount = match power {
        _ if exact == 0 => i128::from(lost),
        0.. => 10i128
            .checked_pow(power.unsigned_abs())
            .and_then(|p| exact.checked_mul(p))
            .unwrap_or(cap),
        _ => match 10i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => div_up(exact.saturating_add(i128::from(lost)), divisor),
            None => 1,
        },
    };
    amount.min(cap)
}

/// Division that rounds away from zero.
fn div_up(amount: i128, divisor: i128) -> i128 {
    amount / divisor + (amount % divisor).signum()
}

fn saturate(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let whole = self.nano / NANO;
        // Below 1024 a binary amount is written without suffix, as a decimal one would be.
        if self.form == Form::Binary && whole.abs() >= 1024 {
            let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
            let (amount, steps) = reduced(whole, 1024, suffixes.len() - 1);
            return write!(f, "{amount}{}", suffixes[steps]);
        }
        let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let most = if self.form == Form::Binary {
            3
        } else {
            suffixes.len() - 1
        };
        let (amount, steps) = reduced(self.nano, 1000, most);
        match (self.form, steps) {
            (Form::Exponent, 3) => write!(f, "{amount}"),
            (Form::Exponent, steps) => write!(f, "{amount}e{}", i64::try_from(steps).unwrap_or(0) * 3 - 9),
            _ => write!(f, "{amount}{}", suffixes[steps]),
        }
    }
}

/// Divides by `base` while nothing is lost, at most `most` times.
fn reduced(mut amount: i128, base: i128, most: usize) -> (i128, usize) {
    let mut steps = 0;
    while steps < most && amount % base == 0 {
        amount /= base;
        steps += 1;
    }
    (amount, steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_the_canonical_form() {
        let table = [
            ("0", "0"),
            ("0m", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("100Mi", "100Mi"),
            ("1000Ki", "1000Ki"),
            ("512", "512"),
            ("512Ki", "512Ki"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1000000", "1M"),
            ("1e3", "1e3"),
            ("12e2", "1200"),
            ("1E3", "1e3"),
            ("0.1m", "100u"),
            ("0.0000000001", "1n"),
            ("-1500m", "-1500m"),
            ("+2", "2"),
            ("0.5Ki", "512"),
            ("0.5Mi", "512Ki"),
            ("99999999999999999999", "9223372036854775807"),
        ];
        for (text, wanted) in table {
            assert_eq!(canonical(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn refuses_with_upstreams_words() {
        for text in ["", "abc", "1.2.3", "-", "100foo", "1 Gi", "0x10"] {
            assert_eq!(canonical(text), Err(ParseError::Form), "{text}");
        }
        for text in [
            "100mm",
            "1KiB".trim_end_matches('B').replace("Ki", "iK").as_str(),
            "1K",
            "1e",
            "1u1",
        ] {
            assert_eq!(canonical(text), Err(ParseError::Suffix), "{text}");
        }
    }

    #[test]
    fn converts_to_milli_and_bytes() {
        let amount = |text: &str| text.parse::<Amount>().ok();
        assert_eq!(amount("250m").map(Amount::milli), Some(250));
        assert_eq!(amount("2").map(Amount::milli), Some(2000));
        assert_eq!(amount("0.1m").map(Amount::milli), Some(1));
        assert_eq!(amount("1Gi").map(Amount::value), Some(1 << 30));
        assert_eq!(amount("1m").map(Amount::value), Some(1));
        assert!(amount("1000Mi") < amount("1Gi") && amount("1000m") == amount("1"));
        assert_eq!(Amount::from_bytes(1 << 31).to_string(), "2Gi");
        assert_eq!(Amount::from_milli(1500).to_string(), "1500m");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<Amount>();
        }

        #[test]
        fn canonical_form_is_stable(text in "[+-]?[0-9]{0,22}(\\.[0-9]{0,22})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]{1,3})?") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
                prop_assert_eq!(once.parse::<Amount>().ok(), text.parse::<Amount>().ok());
            }
        }
    }
}
