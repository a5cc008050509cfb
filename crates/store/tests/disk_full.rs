//! A disk that takes no more: writes are refused, nothing else happens. The limit is the whole process's, so this is
//! the only test in its file.

use bytes::Bytes;
use coracle_store::{Error, Expect, Sqlite, Store};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    // A write past the limit then fails with EFBIG instead of ending the process; the writer's thread inherits this.
    let mut too_large = SigSet::empty();
    too_large.add(Signal::SIGXFSZ);
    too_large.thread_block().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let store = Sqlite::open(&file).unwrap();
    store
        .put("/before", Bytes::from_static(b"1"), Expect::Absent)
        .await
        .unwrap();

    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 100_000, hard).unwrap();
    let large = Bytes::from(vec![b'x'; 200_000]);
    let large_and_small = tokio::join!(
        store.put("/large", large.clone(), Expect::Absent),
        store.put("/small", Bytes::from_static(b"2"), Expect::Absent),
        store.put("/before", large.clone(), Expect::Revision(1)),
    );
    assert!(
        matches!(large_and_small.0, Err(Error::Unwritable(_))),
        "{large_and_small:?}"
    );
    assert_eq!(
        large_and_small.1.unwrap().modified,
        2,
        "one that fits is not refused with it"
    );
    assert!(matches!(large_and_small.2, Err(Error::Unwritable(_))));
    assert!(store.get("/large").await.unwrap().is_none());
    assert_eq!(store.get("/before").await.unwrap().unwrap().modified, 1);

    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    assert_eq!(
        store.put("/large", large, Expect::Absent).await.unwrap().modified,
        3
    );
    drop(store);
    let store = Sqlite::open(&file).unwrap();
    assert_eq!(store.revision(), 3);
    assert_eq!(store.get("/large").await.unwrap().unwrap().value.len(), 200_000);
}
