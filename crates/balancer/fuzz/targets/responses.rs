//! What a server may say.
#![no_main]

mod input;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((cuts, bytes)) = input::cut(data) {
        input::oracle::responses(bytes, &cuts);
    }
});
