//! Patches of all four kinds, of objects that exist.
#![no_main]

mod door;

const MEDIA: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(((collection, name), rest)) = door::resource(data) else {
        return;
    };
    let Some((media, patch)) = rest.split_first() else {
        return;
    };
    let media = MEDIA[usize::from(*media) % MEDIA.len()];
    let manager = if media == "application/apply-patch+yaml" {
        "&fieldManager=fuzz"
    } else {
        ""
    };
    let path = format!("{collection}/{name}?dryRun=All{manager}");
    door::ask(http::Method::PATCH, &path, media, patch);
});
