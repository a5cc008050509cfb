//! What a request for a log asks for.

use jiff::{SignedDuration, Timestamp};

use super::Refusal;

/// Which of a container's lines are wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on until the container ends.
    pub follow: bool,
    /// The attempt before the latest.
    pub previous: bool,
    /// Each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// No more bytes than these.
    pub limit: Option<usize>,
    /// No lines before this time.
    pub since: Option<Timestamp>,
    /// Only lines of this stream, `stdout` or `stderr`.
    pub stream: Option<String>,
}

impl LogQuery {
    /// Reads the query of a URL, with upstream's names.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let wrong = || Refusal::bad_request(format!("invalid value {value:?} for {name}"));
            let flag = value != "0" && !value.eq_ignore_ascii_case("false");
            let number = || value.parse::<usize>().map_err(|_| wrong());
            match name.as_ref() {
                "follow" => query.follow = flag,
                "previous" => query.previous = flag,
                "timestamps" => query.timestamps = flag,
                "tailLines" => query.tail = Some(number()?),
                "limitBytes" => query.limit = Some(number()?),
                "sinceSeconds" => {
                    let seconds = value.parse().map_err(|_| wrong())?;
                    query.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
                }
                "sinceTime" => query.since = Some(value.parse().map_err(|_| wrong())?),
                "stream" => {
                    query.stream = match value.as_ref() {
                        "Stdout" => Some("stdout".to_owned()),
                        "Stderr" => Some("stderr".to_owned()),
                        "All" => None,
                        _ => return Err(wrong()),
                    }
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_names_are_understood() {
        let now = Timestamp::from_second(1000).unwrap();
        let text =
            "follow=true&previous=false&tailLines=5&limitBytes=9&sinceSeconds=10&stream=Stderr&container=c";
        let expected = LogQuery {
            follow: true,
            tail: Some(5),
            limit: Some(9),
            since: Timestamp::from_second(990).ok(),
            stream: Some("stderr".into()),
            ..Default::default()
        };
        assert_eq!(LogQuery::parse(text, now).unwrap(), expected);
        assert!(LogQuery::parse("tailLines=x", now).is_err());
        assert!(
            LogQuery::parse("sinceTime=2024-01-02T03:04:05Z", now)
                .unwrap()
                .since
                .is_some()
        );
    }
}
