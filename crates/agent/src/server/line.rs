//! Lines of a log file as clients see them.

use jiff::Timestamp;

use super::log_query::LogQuery;

/// What a client sees of one line of a log file, or `None` if it is not wanted. `line` is without its line end.
pub fn render(line: &[u8], query: &LogQuery) -> Option<Vec<u8>> {
    let mut fields = line.splitn(4, |&byte| byte == b' ');
    let (time, stream, tag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if query
        .stream
        .as_ref()
        .is_some_and(|wanted| wanted.as_bytes() != stream)
    {
        return None;
    }
    if let Some(since) = query.since {
        let time: Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
        if time < since {
            return None;
        }
    }
    let mut out = Vec::with_capacity(line.len() + 1);
    if query.timestamps {
        out.extend_from_slice(time);
        out.push(b' ');
    }
    out.extend_from_slice(text);
    if tag == b"F" {
        out.push(b'\n');
    }
    Some(out)
}

/// The complete lines at the beginning of `data`; what is left stays in it.
pub fn take_lines(data: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let Some(end) = data.iter().rposition(|&byte| byte == b'\n') else {
        return Vec::new();
    };
    let rest = data.split_off(end + 1);
    let complete = std::mem::replace(data, rest);
    complete[..end]
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(query: &LogQuery) -> Option<String> {
        let line = b"2024-01-02T03:04:05.000000006Z stderr F hello  there";
        render(line, query).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn lines_are_picked_and_shown() {
        let query = LogQuery::default;
        assert_eq!(rendered(&query()).as_deref(), Some("hello  there\n"));
        let stamped = LogQuery {
            timestamps: true,
            ..query()
        };
        assert_eq!(
            rendered(&stamped).as_deref(),
            Some("2024-01-02T03:04:05.000000006Z hello  there\n")
        );
        assert_eq!(
            rendered(&LogQuery {
                stream: Some("stdout".into()),
                ..query()
            }),
            None
        );
        let later = "2024-01-02T03:04:06Z".parse().ok();
        assert_eq!(
            rendered(&LogQuery {
                since: later,
                ..query()
            }),
            None
        );
        assert_eq!(
            render(b"2024 stdout P part", &query()).as_deref(),
            Some(b"part".as_slice())
        );
        assert_eq!(render(b"nonsense", &query()), None);
    }

    #[test]
    fn what_is_not_complete_stays() {
        let mut data = b"a\n\nb".to_vec();
        assert_eq!(take_lines(&mut data), [b"a".to_vec(), b"".to_vec()]);
        assert_eq!(data, b"b");
    }
}
