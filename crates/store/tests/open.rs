//! Opening: what is refused, and how the refusal reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use coracle_store::{Error, Expect, OpenError, Sqlite, Store};

fn refused(file: &Path) -> OpenError {
    let Err(error) = Sqlite::open(file) else {
        panic!("it opened")
    };
    let message = error.to_string();
    assert!(
        message.contains(&file.display().to_string()) && !message.contains('\n'),
        "{message}"
    );
    error
}

#[test]
fn a_second_opening_is_refused_until_the_first_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/down/test.db");
    let first = Sqlite::open(&file).unwrap();
    assert!(matches!(refused(&file), OpenError::Locked { .. }));
    drop(first);
    Sqlite::open(&file).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    std::fs::write(
        &file,
        "this is not a database, it is a letter to my aunt ".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(refused(&file), OpenError::Corrupt { .. }));
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE cheese (name TEXT)")
        .unwrap();
    assert!(matches!(refused(&foreign), OpenError::Corrupt { .. }));
}

#[test]
fn a_newer_format_and_a_hole_in_the_log_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    drop(Sqlite::open(&file).unwrap());
    let sql = |sql: &str| {
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };
    sql("INSERT INTO log VALUES (1, '/a', 1, x'00'), (3, '/a', 1, x'00')");
    assert!(refused(&file).to_string().contains("revision 2 is missing"));
    sql("UPDATE log SET revision = 2, value = NULL WHERE revision = 3");
    drop(Sqlite::open(&file).unwrap());
    sql("UPDATE meta SET value = 2 WHERE name = 'format'");
    assert!(matches!(
        refused(&file),
        OpenError::Newer {
            found: 2,
            known: 1,
            ..
        }
    ));
}

#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(
        refused(&folder.path().join("file/test.db")),
        OpenError::Unreachable { .. }
    ));
}

#[tokio::test]
async fn others_may_read_the_file_and_one_that_writes_only_holds_up_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let store = Sqlite::open(&file).unwrap();
    store
        .put("/a", Bytes::from_static(b"1"), Expect::Absent)
        .await
        .unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    let keys: i64 = other
        .query_row("SELECT count(*) FROM log", [], |row| row.get(0))
        .unwrap();
    assert_eq!(keys, 1);

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.put("/b", Bytes::new(), Expect::Absent).await;
    assert!(matches!(refused, Err(Error::Unwritable(_))), "{refused:?}");
    assert!(store.get("/b").await.unwrap().is_none());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(
        store
            .put("/b", Bytes::new(), Expect::Absent)
            .await
            .unwrap()
            .modified,
        2
    );
}
