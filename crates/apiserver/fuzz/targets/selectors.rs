//! Label selectors, field selectors and continue tokens of lists.
#![no_main]

mod door;

const OPTIONS: [&str; 3] = ["labelSelector", "fieldSelector", "continue"];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(((collection, _), rest)) = door::resource(data) else {
        return;
    };
    let Some((option, value)) = rest.split_first() else {
        return;
    };
    let option = OPTIONS[usize::from(*option) % OPTIONS.len()];
    let value = percent_encoding::percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
    let path = format!("{collection}?limit=1&{option}={value}");
    if path.len() < 60_000 {
        door::ask(http::Method::GET, &path, "application/json", b"");
    }
});
