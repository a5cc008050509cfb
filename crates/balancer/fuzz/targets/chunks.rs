//! What may be in a chunked body, and behind it.
#![no_main]

mod input;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((cuts, bytes)) = input::cut(data) {
        input::oracle::requests(&[HEAD, bytes].concat(), &cuts);
    }
});
