//! What one follower saw, against what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::journal::{Change, Journal};

/// Whether a follower kept up.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The library.
    pub library: &'static str,
    /// Changes that it was told live.
    pub live: usize,
    /// Lists that it made.
    pub lists: usize,
    /// Watches that it began.
    pub watches: usize,
    /// Errors that it told of; an end of the server or of the history is one in some libraries.
    pub errors: BTreeMap<String, usize>,
    /// Writes that it was not told of, and a fresh list made up for.
    pub listed: usize,
    /// What must not be: writes missed, told twice, out of order or otherwise than they were, and a wrong view.
    pub faults: Vec<String>,
}

/// How far a follower is.
#[derive(Default)]
struct Place {
    /// The latest revision that it told.
    revision: u64,
    /// The revision of its latest list: changes up to it were told out of the list.
    listed: u64,
    /// It tells what a list holds, of a revision that it does not tell, until it begins to watch: the latest so far.
    in_list: Option<u64>,
    /// Nothing came since that list: whatever was written until the next change may have been in it.
    after_list: bool,
}

impl Verdict {
    /// Judges a follower's lines. `began` is the revision of the last write before all followers had begun.
    pub fn new(
        library: &'static str,
        lines: &[String],
        journal: &Journal,
        began: u64,
        fresh: &BTreeMap<String, String>,
    ) -> Self {
        let mut verdict = Self {
            library,
            ..Self::default()
        };
        let mut place = Place {
            revision: began,
            listed: began,
            ..Place::default()
        };
        let mut missed: BTreeSet<u64> = journal
            .range(began + 1..)
            .map(|(revision, _)| *revision)
            .collect();
        for line in lines {
            let mut words = line.splitn(2, ' ');
            let (word, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match word {
                "list" => verdict.list(rest, &mut place, &mut missed),
                "watch" => {
                    verdict.watches += 1;
                    if let Some(latest) = place.in_list.take() {
                        verdict.excuse(latest, &mut place, &mut missed);
                    }
                }
                "error" => {
                    *verdict
                        .errors
                        .entry(rest.chars().take(120).collect())
                        .or_default() += 1;
                }
                "view" => verdict.view(rest, fresh),
                _ => verdict.change(word, rest, &mut place, journal, &mut missed),
            }
        }
        verdict.faults.extend(
            missed
                .iter()
                .map(|revision| format!("missed {revision} {:?}", journal[revision])),
        );
        verdict
    }

    /// Whether nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    fn list(&mut self, revision: &str, place: &mut Place, missed: &mut BTreeSet<u64>) {
        self.lists += 1;
        match revision.parse() {
            Ok(revision) => self.excuse(revision, place, missed),
            Err(_) => (place.in_list, place.after_list) = (Some(0), true),
        }
    }

    /// A list held all that was written up to this revision.
    fn excuse(&mut self, revision: u64, place: &mut Place, missed: &mut BTreeSet<u64>) {
        let excused: Vec<_> = missed
            .range(place.revision + 1..)
            .take_while(|each| **each <= revision)
            .copied()
            .collect();
        self.listed += excused.len();
        excused.iter().for_each(|each| {
            missed.remove(each);
        });
        place.revision = place.revision.max(revision);
        place.listed = place.revision;
    }

    fn change(
        &mut self,
        word: &str,
        rest: &str,
        place: &mut Place,
        journal: &Journal,
        missed: &mut BTreeSet<u64>,
    ) {
        let Some((name, revision)) = rest
            .split_once(' ')
            .and_then(|(name, text)| Some((name, text.parse::<u64>().ok()?)))
        else {
            self.faults.push(format!("not understood: {word} {rest}"));
            return;
        };
        if let Some(latest) = &mut place.in_list {
            *latest = revision.max(*latest);
            return;
        }
        if revision <= place.listed {
            return;
        }
        if std::mem::take(&mut place.after_list) {
            self.excuse(revision - 1, place, missed);
        }
        let written = journal
            .range(revision..)
            .find(|(_, (_, written))| written == name);
        match written {
            Some((at, (change, _)))
                if change.word() == word && (*at == revision || *change == Change::Delete) =>
            {
                missed.remove(at);
                self.live += 1;
            }
            _ => self.faults.push(format!(
                "{word} {name} {revision} was not written, but {written:?}"
            )),
        }
        if revision <= place.revision {
            self.faults
                .push(format!("{word} {name} {revision} came after {}", place.revision));
        }
        place.revision = place.revision.max(revision);
    }

    fn view(&mut self, view: &str, fresh: &BTreeMap<String, String>) {
        match serde_json::from_str::<BTreeMap<String, String>>(view) {
            Ok(view) if view == *fresh => {}
            other => self
                .faults
                .push(format!("the view is {other:?}, a fresh list {fresh:?}")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            library,
            live,
            listed,
            lists,
            watches,
            ..
        } = self;
        write!(
            f,
            "| {library} | {live} | {listed} | {lists} | {watches} | {} | {} |",
            self.errors.values().sum::<usize>(),
            self.faults.len()
        )?;
        for (error, times) in &self.errors {
            write!(f, "\n  {times} x {error}")?;
        }
        self.faults
            .iter()
            .take(20)
            .try_for_each(|fault| write!(f, "\n  FAULT {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges what a follower said of five writes: `a` added (2) and changed (3), `b` added (4), `a` deleted (5), `end` added (6).
    fn judge(said: &[&str]) -> Verdict {
        let journal = [
            (2, (Change::Add, "a")),
            (3, (Change::Update, "a")),
            (4, (Change::Add, "b")),
            (5, (Change::Delete, "a")),
            (6, (Change::Add, "end")),
        ];
        let journal = journal.map(|(revision, (change, name))| (revision, (change, name.to_owned())));
        let fresh = [("b", "4"), ("end", "6")].map(|(name, at)| (name.to_owned(), at.to_owned()));
        let said: Vec<_> = said.iter().map(|line| (*line).to_owned()).collect();
        Verdict::new("any", &said, &journal.into(), 1, &fresh.into())
    }

    const VIEW: &str = r#"view {"b": "4", "end": "6"}"#;

    #[test]
    fn whoever_is_told_everything_is_good() {
        let verdict = judge(&[
            "list 1",
            "watch 1",
            "add a 2",
            "update a 3",
            "add b 4",
            "delete a 5",
            "add end 6",
            VIEW,
        ]);
        assert!(verdict.is_good(), "{verdict}");
        assert_eq!((verdict.live, verdict.listed), (5, 0));
    }

    #[test]
    fn a_list_makes_up_for_what_was_not_told() {
        let verdict = judge(&[
            "list 1",
            "add a 2",
            "error gone",
            "list 5",
            "watch 5",
            "add end 6",
            VIEW,
        ]);
        assert!(verdict.is_good(), "{verdict}");
        assert_eq!((verdict.live, verdict.listed), (2, 3));
    }

    #[test]
    fn a_list_without_a_revision_makes_up_for_what_was_written_before_its_latest() {
        let last = ["list ?", "add b 4", "add end 6", "watch ?", VIEW];
        let verdict = judge(&last);
        assert!(verdict.is_good(), "{verdict}");
        assert_eq!((verdict.live, verdict.listed), (0, 5));
        // The deletion at 5 may have been before the list or not: the next change shows that it was.
        let verdict = judge(&["list ?", "add b 4", "watch ?", "add end 6", VIEW]);
        assert!(verdict.is_good(), "{verdict}");
        let verdict = judge(&["list ?", "add b 4", "watch ?", VIEW]);
        assert!(!verdict.is_good(), "the last write was neither told nor listed");
    }

    #[test]
    fn what_must_not_be_is_found() {
        for (said, fault) in [
            (
                vec!["add a 2", "add b 4", "delete a 5", "add end 6", VIEW],
                "missed 3",
            ),
            (
                vec![
                    "add a 2",
                    "update a 3",
                    "update a 3",
                    "add b 4",
                    "delete a 5",
                    "add end 6",
                    VIEW,
                ],
                "came after",
            ),
            (
                vec![
                    "add a 2",
                    "update a 3",
                    "delete b 4",
                    "add b 4",
                    "delete a 5",
                    "add end 6",
                    VIEW,
                ],
                "was not written",
            ),
            (vec!["list 6", "view {}"], "the view is"),
        ] {
            let verdict = judge(&said);
            let found = verdict.faults.iter().any(|each| each.contains(fault));
            assert!(found && !verdict.is_good(), "{fault}: {verdict}");
        }
    }
}
