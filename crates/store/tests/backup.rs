//! Backups: taken while the store is written to, and what is not restored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use coracle_store::{Attachment, BackupError, Expect, Sqlite, Store, backup, restore};

fn attachments() -> Vec<Attachment> {
    let attachment = |name: &str, content: &[u8]| Attachment {
        name: name.to_owned(),
        content: content.to_owned(),
    };
    vec![attachment("a", b"\0bytes"), attachment("b", b"")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_writes_holds_all_that_was_acknowledged_before_and_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let store = Arc::new(Sqlite::open(&path("store.db")).unwrap());
    let put = |n: u32| {
        let store = store.clone();
        async move {
            let key = format!("/k/{n}");
            store
                .put(&key, Bytes::from(n.to_string()), Expect::Absent)
                .await
                .unwrap()
        }
    };
    for n in 0..50 {
        put(n).await;
    }
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 50..500 {
                let key = format!("/k/{n}");
                store
                    .put(&key, Bytes::from(n.to_string()), Expect::Absent)
                    .await
                    .unwrap();
            }
        }
    });
    let (from, to) = (path("store.db"), path("backup"));
    tokio::task::spawn_blocking(move || backup(&from, &attachments(), &to).unwrap())
        .await
        .unwrap();
    writing.await.unwrap();
    assert_eq!(
        std::fs::metadata(path("backup")).unwrap().permissions().mode() & 0o777,
        0o600
    );

    assert_eq!(
        restore(&path("backup"), &path("new/store.db")).unwrap(),
        attachments()
    );
    let restored = Sqlite::open(&path("new/store.db")).unwrap();
    let page = restored.list("/k/", None, usize::MAX, None).await.unwrap();
    assert!(page.entries.len() >= 50, "acknowledged writes are missing");
    assert_eq!(page.revision, page.entries.len() as u64, "revisions are missing");
    for entry in page.entries {
        assert_eq!(&*entry.key, format!("/k/{}", entry.modified - 1));
        assert_eq!(entry.value, (entry.modified - 1).to_string());
    }
}

#[test]
fn nothing_is_written_over_and_nothing_half_done_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(Sqlite::open(&path("store.db")).unwrap());
    std::fs::write(path("mine"), "mine").unwrap();
    let refused = |result: Result<(), BackupError>| result.unwrap_err().to_string();

    let told = refused(backup(&path("store.db"), &[], &path("mine")));
    assert!(
        told.ends_with("mine exists already: choose another name, or move it away"),
        "{told}"
    );
    let told = refused(restore(&path("mine"), &path("new.db")).map(|_| ()));
    assert!(told.contains("mine is no backup of a cluster"), "{told}");
    // A store as it is has no attachments: it is no backup either.
    let told = refused(restore(&path("store.db"), &path("new.db")).map(|_| ()));
    assert!(told.contains("is no backup of a cluster"), "{told}");
    assert!(!path("new.db").exists());

    let told = refused(backup(&path("store.db"), &[], &path("typo/backup")));
    assert!(
        told.ends_with("typo: make it first, or choose another name"),
        "{told}"
    );
    assert!(!path("typo").exists());

    backup(&path("store.db"), &[], &path("good")).unwrap();
    let told = refused(restore(&path("good"), &path("mine")).map(|_| ()));
    assert!(told.contains("mine exists already"), "{told}");
    let bytes = std::fs::read(path("good")).unwrap();
    std::fs::write(path("short"), &bytes[..bytes.len() / 2]).unwrap();
    let told = refused(restore(&path("short"), &path("new.db")).map(|_| ()));
    assert!(told.contains("is no backup of a cluster"), "{told}");
    assert_eq!(std::fs::read_to_string(path("mine")).unwrap(), "mine");
    assert!(!path("new.db").exists());
}
