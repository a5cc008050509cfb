//! Bodies of objects to be made, as JSON, YAML or protobuf, all of the way to the store.
#![no_main]

mod door;

const MEDIA: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(((collection, _), rest)) = door::resource(data) else {
        return;
    };
    let Some((media, body)) = rest.split_first() else {
        return;
    };
    let media = MEDIA[usize::from(*media) % MEDIA.len()];
    let path = format!("{collection}?dryRun=All&fieldValidation=Strict");
    door::ask(http::Method::POST, &path, media, body);
});
