//! Schedules of CronJobs: five fields of times, `*/5 * * * *`, or a descriptor, `@hourly`.
//!
//! Flows in: text. Flows out: what is wrong with it, in the words of the library that upstream uses.

use std::str::FromStr;
use std::time::Duration;

/// Why a schedule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {}: [{}]", .0.split_whitespace().count(), .0.split_whitespace().collect::<Vec<_>>().join(" "))]
    Fields(String),
    /// `@x`
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// `@every x`
    #[error("failed to parse duration {0}: time: invalid duration {1:?}")]
    Duration(String, String),
    /// `1-2-3`
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    /// `1/2/3`
    #[error("too many slashes: {0}")]
    Slashes(String),
    /// Neither a number nor a name.
    #[error("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")]
    Number {
        /// What stands there.
        text: String,
    },
    /// Before the first.
    #[error("beginning of range ({0}) below minimum ({1}): {2}")]
    Below(u32, u32, String),
    /// After the last.
    #[error("end of range ({0}) above maximum ({1}): {2}")]
    Above(u32, u32, String),
    /// Backwards.
    #[error("beginning of range ({0}) beyond end of range ({1}): {2}")]
    Backwards(u32, u32, String),
    /// `*/0`
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

/// One of the five: its least and greatest number, and names for numbers.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field {
        min: 0,
        max: 59,
        names: &[],
    },
    Field {
        min: 0,
        max: 23,
        names: &[],
    },
    Field {
        min: 1,
        max: 31,
        names: &[],
    },
    Field {
        min: 1,
        max: 12,
        names: &MONTHS,
    },
    Field {
        min: 0,
        max: 6,
        names: &DAYS,
    },
];
const DESCRIPTORS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// Whether `schedule` is one.
///
/// # Errors
/// If it is not: what is wrong.
pub fn check(schedule: &str) -> Result<(), ScheduleError> {
    if let Some(interval) = schedule.strip_prefix("@every ") {
        return every(interval)
            .ok_or_else(|| ScheduleError::Duration(schedule.to_owned(), interval.to_owned()));
    }
    if schedule.starts_with('@') {
        return match DESCRIPTORS.contains(&schedule) {
            true => Ok(()),
            false => Err(ScheduleError::Descriptor(schedule.to_owned())),
        };
    }
    let parts: Vec<_> = schedule.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(ScheduleError::Fields(schedule.to_owned()));
    }
    let mut ranges = parts.iter().zip(&FIELDS).flat_map(|(part, field)| {
        part.split(',')
            .filter(|range| !range.is_empty())
            .map(move |range| (range, field))
    });
    ranges.try_for_each(|(range, field)| field.check(range))
}

fn every(interval: &str) -> Option<()> {
    let duration = jiff::SignedDuration::from_str(interval).ok()?;
    Duration::try_from(duration).ok().map(drop)
}

impl Field {
    fn check(&self, text: &str) -> Result<(), ScheduleError> {
        let mut halves = text.split('/');
        let range = halves.next().unwrap_or_default();
        let step = halves.next();
        if halves.next().is_some() {
            return Err(ScheduleError::Slashes(text.to_owned()));
        }
        let mut ends = range.split('-');
        let first = ends.next().unwrap_or_default();
        let second = ends.next();
        let (low, high) = match (first, second) {
            ("*" | "?", _) => (self.min, self.max),
            _ if ends.next().is_some() => return Err(ScheduleError::Hyphens(text.to_owned())),
            (first, None) => {
                let low = self.number(first)?;
                (low, if step.is_some() { self.max } else { low })
            }
            (first, Some(second)) => (self.number(first)?, self.number(second)?),
        };
        let step = step.map_or(Ok(1), number)?;
        if low < self.min {
            return Err(ScheduleError::Below(low, self.min, text.to_owned()));
        }
        if high > self.max {
            return Err(ScheduleError::Above(high, self.max, text.to_owned()));
        }
        if low > high {
            return Err(ScheduleError::Backwards(low, high, text.to_owned()));
        }
        if step == 0 {
            return Err(ScheduleError::Step(text.to_owned()));
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u32, ScheduleError> {
        let name = text.to_lowercase();
        match (self.min..).zip(self.names).find(|(_, known)| **known == name) {
            Some((number, _)) => Ok(number),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Result<u32, ScheduleError> {
    text.parse().map_err(|_| ScheduleError::Number {
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_schedules_from_others() {
        for good in [
            "*/5 * * * *",
            "0 0 1,15 jan-mar Sun",
            "@hourly",
            "@every 1h30m",
            "5/15 ? * * 1-5",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let said = |text: &str| check(text).map_err(|error| error.to_string()).err();
        for (bad, wanted) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("@never", "unrecognized descriptor: @never"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            (
                "a * * * *",
                "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax",
            ),
        ] {
            assert_eq!(said(bad).as_deref(), Some(wanted));
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[@*/,0-9a-z -]{0,30}|\\PC{0,30}") {
            let _ = check(&text);
        }
    }
}
