//! Header blocks: name and value pairs, compressed with one zlib stream a direction and connection.
//!
//! Section 2.6.10 of the SPDY/3.1 draft. Names are compared without regard to case: Go's client sends them in lower case.

use std::sync::LazyLock;

use bytes::{Buf as _, BufMut as _};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::FrameError;

/// Longest header block in bytes, before compression.
const LONGEST: usize = 64 * 1024;
/// Space for output of the compression that is added at a time.
const PIECE: usize = 4096;

/// The words that the dictionary begins with, each headed by its length.
const WORDS: &str = "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|\
accept-ranges|age|allow|authorization|cache-control|connection|content-base|content-encoding|content-language|\
content-length|content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|\
if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|\
proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|\
user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|\
keep-alive|origin";

/// What follows them.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// What both sides' compression begins with.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS.split('|') {
        put_text(&mut dictionary, word);
    }
    dictionary.extend_from_slice(TEXT.as_bytes());
    dictionary
});

fn put_text(block: &mut Vec<u8>, text: &str) {
    // A text here is shorter than a block, and a block than 4 GiB.
    block.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    block.extend_from_slice(text.as_bytes());
}

/// The headers of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn parse(mut block: &[u8]) -> Result<Self, FrameError> {
        let count = block
            .try_get_u32()
            .map_err(|_| FrameError::Headers("too short"))?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text(&mut block)?, text(&mut block)?));
        }
        Ok(Self(headers))
    }

    fn block(&self) -> Vec<u8> {
        let mut block = Vec::new();
        block.put_u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.0 {
            put_text(&mut block, name);
            put_text(&mut block, value);
        }
        block
    }
}

fn text(block: &mut &[u8]) -> Result<String, FrameError> {
    let length = block
        .try_get_u32()
        .map_err(|_| FrameError::Headers("too short"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let text = block.get(..length).ok_or(FrameError::Headers("too short"))?;
    *block = block.get(length..).unwrap_or_default();
    String::from_utf8(text.to_vec()).map_err(|_| FrameError::Headers("not UTF-8"))
}

/// Reads the header blocks of one direction of a connection, in their order.
#[derive(Debug)]
pub struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    /// Reads the next block.
    pub fn read(&mut self, compressed: &[u8]) -> Result<Headers, FrameError> {
        Headers::parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut block = Vec::with_capacity(PIECE);
        loop {
            if block.len() == block.capacity() {
                if block.len() >= LONGEST {
                    return Err(FrameError::Headers("too long"));
                }
                block.reserve(PIECE);
            }
            let before = (self.0.total_in(), block.len());
            let result = self.0.decompress_vec(input, &mut block, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - before.0).unwrap_or(usize::MAX);
            input = input.get(read..).unwrap_or_default();
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    let wrong = |_| FrameError::Headers("another dictionary");
                    self.0.set_dictionary(&DICTIONARY).map_err(wrong)?;
                }
                Err(_) | Ok(Status::StreamEnd) => {
                    return Err(FrameError::Headers("not compressed as agreed"));
                }
                Ok(_) if input.is_empty() && block.len() < block.capacity() => return Ok(block),
                Ok(_) if (self.0.total_in(), block.len()) == before => {
                    return Err(FrameError::Headers("not compressed as agreed"));
                }
                Ok(_) => {}
            }
        }
    }
}

/// Writes the header blocks of one direction of a connection.
#[derive(Debug)]
pub struct Deflater {
    zlib: Compress,
    has_dictionary: bool,
}

impl Default for Deflater {
    fn default() -> Self {
        Self {
            zlib: Compress::new(Compression::fast(), true),
            has_dictionary: false,
        }
    }
}

impl Deflater {
    /// Writes the next block.
    pub fn write(&mut self, headers: &Headers) -> Result<Vec<u8>, FrameError> {
        let failed = |_| FrameError::Headers("cannot be compressed");
        if !std::mem::replace(&mut self.has_dictionary, true) {
            self.zlib.set_dictionary(&DICTIONARY).map_err(failed)?;
        }
        let block = headers.block();
        let mut input = block.as_slice();
        let mut compressed = Vec::with_capacity(PIECE);
        loop {
            let before = self.zlib.total_in();
            self.zlib
                .compress_vec(input, &mut compressed, FlushCompress::Sync)
                .map_err(failed)?;
            let read = usize::try_from(self.zlib.total_in() - before).unwrap_or(usize::MAX);
            input = input.get(read..).unwrap_or_default();
            if input.is_empty() && compressed.len() < compressed.capacity() {
                return Ok(compressed);
            }
            compressed.reserve(PIECE);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_dictionary_is_the_draft_s() {
        assert_eq!(DICTIONARY.len(), 1423);
        let adler = DICTIONARY.iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!(adler.1 << 16 | adler.0, 0xe3c6_a7c2);
    }

    #[test]
    fn a_block_of_the_draft_is_read() {
        let mut block = vec![0, 0, 0, 1, 0, 0, 0, 4];
        block.extend_from_slice(b"port\0\0\0\x0280");
        let headers = Headers::parse(&block).unwrap();
        assert_eq!(headers.get("Port"), Some("80"));
        assert_eq!(headers.get("streamType"), None);
        assert_eq!(headers.block(), block);
        assert_eq!(Headers::parse(&block[..9]), Err(FrameError::Headers("too short")));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = Headers(vec![("a".into(), "a".repeat(2 * LONGEST))]);
        let compressed = Deflater::default().write(&bomb).unwrap();
        assert!(compressed.len() < 2048);
        assert_eq!(
            Inflater::default().read(&compressed),
            Err(FrameError::Headers("too long"))
        );
    }

    proptest! {
        #[test]
        fn blocks_come_back_in_order(all in prop::collection::vec(prop::collection::vec(("[a-z]{0,20}", ".{0,2000}"), 0..6), 0..6)) {
            let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
            for headers in all.into_iter().map(Headers) {
                let compressed = deflater.write(&headers).unwrap();
                prop_assert_eq!(inflater.read(&compressed).unwrap(), headers);
            }
        }

        #[test]
        fn nonsense_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Inflater::default().read(&bytes);
            let _ = Headers::parse(&bytes);
        }
    }
}
