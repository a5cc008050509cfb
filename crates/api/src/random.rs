//! The alphabet of generated names and template hashes.
//!
//! Flows in: bytes. Flows out: text that cannot spell a word. Upstream's `rand.SafeEncodeString`. The randomness itself
//! comes from the caller.

/// No vowels and none of `0 1 3`: neither bad words nor mistaken characters.
pub const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Length of the random end of a generated name.
pub const SUFFIX_LEN: usize = 5;

/// Longest prefix that `generateName` keeps, so that prefix and suffix are a label's 63 characters at most.
pub const MAX_PREFIX: usize = 63 - SUFFIX_LEN;

/// Spells each byte with one character of [`ALPHABET`].
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
        .collect()
}

/// `prefix`, cut to [`MAX_PREFIX`], and five characters made of `random`.
#[must_use]
pub fn generated_name(prefix: &str, random: [u8; SUFFIX_LEN]) -> String {
    let end = prefix
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= MAX_PREFIX)
        .last();
    format!("{}{}", &prefix[..end.unwrap_or(0)], encode(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_digits_as_upstream_does() {
        assert_eq!(encode(b"0123456789"), "4567 89bcdf".replace(' ', ""));
    }

    #[test]
    fn cuts_long_prefixes() {
        assert_eq!(generated_name("web-", [0; 5]), "web-bbbbb");
        assert_eq!(generated_name(&"a".repeat(80), [0; 5]).len(), 63);
    }
}
