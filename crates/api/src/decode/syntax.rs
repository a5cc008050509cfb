//! What Go's decoder says of text that is no JSON: clients print it.
//!
//! Flows in: our parser's error and the text. Flows out: a sentence. Where Go would say something else altogether, ours
//! stands.

/// What our parser misses, and where Go says that a character is wrong.
const PLACES: [(&str, &str); 7] = [
    ("expected value", "looking for beginning of value"),
    ("trailing comma", "looking for beginning of value"),
    ("trailing characters", "after top-level value"),
    (
        "key must be a string",
        "looking for beginning of object key string",
    ),
    ("expected `:`", "after object key"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
];

/// The error in the words of Go.
#[must_use]
pub fn in_words_of_go(error: &serde_json::Error, bytes: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let text = error.to_string();
    let place = PLACES.iter().find(|(missing, _)| text.starts_with(missing));
    let line = bytes
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let byte = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    match (place, byte) {
        // The comma before the end of an object.
        (Some(("trailing comma", _)), Some(b'}')) => {
            "invalid character '}' looking for beginning of object key string".to_owned()
        }
        (Some((_, place)), Some(b'"')) => format!("invalid character '\"' {place}"),
        (Some((_, place)), Some(byte)) => format!("invalid character {:?} {place}", char::from(*byte)),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_is_named() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            (
                "{\n \"a\": x}",
                "invalid character 'x' looking for beginning of value",
            ),
            ("{} {}", "invalid character '{' after top-level value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "{a:1}",
                "invalid character 'a' looking for beginning of object key string",
            ),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(in_words_of_go(&error, text.as_bytes()), expected, "{text}");
        }
    }
}
