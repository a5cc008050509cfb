//! Clusters that cannot be started.

use std::fs;
use std::net::TcpListener;

use coracle_tests::{Cluster, User};

use crate::{Told, cluster, text};

#[test]
fn starts_that_cannot_be() {
    let mut cluster = cluster(User::Same);
    let mut told = Told::default();
    let data = text(&cluster.data_dir());
    let home = cluster.home();
    let other = text(&home.join("other"));

    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound listener").port();
    told.error(
        &cluster.run(&["up", "--api-port", &port.to_string(), "--data-dir", &other]),
        1,
        &format!("port {port} on 127.0.0.1 is taken by another program: choose another with --api-port (0 takes a free one)"),
    );
    for detach in [&[][..], &["--detach"]] {
        told.error(
            &cluster.run(&[&["up", "--data-dir", &data], detach].concat()),
            1,
            &format!(
                "a coracle server (pid {}) already runs on {data}: use another --data-dir, or stop it with `coracle down \
                 --data-dir {data}`",
                cluster.server_pid()
            ),
        );
    }
    let odd = text(&home.join("odd"));
    fs::write(&odd, "{ nope\n").expect("our own folder");
    told.error(
        &cluster.run(&["up", "--api-port", "0", "--data-dir", &other, "--kubeconfig", &odd]),
        1,
        &format!(
            "{odd} is not a kubeconfig: mend it, or write elsewhere with --kubeconfig FILE: did not find expected ',' or '}}' \
             at line 2 column 1, while parsing a flow mapping"
        ),
    );
    told.error(
        &cluster.run(&["up", "--data-dir", &odd]),
        1,
        &format!(
            "cannot make the data folder {odd}: choose another with --data-dir: File exists (os error 17)"
        ),
    );
    fs::create_dir_all(home.join("foreign/store")).expect("our own folder");
    let foreign = text(&home.join("foreign"));
    told.error(
        &cluster.run(&["up", "--data-dir", &foreign]),
        1,
        &format!(
            "{foreign} is not a cluster's folder, and has a store of its own: choose another with --data-dir"
        ),
    );
    assert!(
        !home.join("other").exists(),
        "a start that failed has left something"
    );

    cluster.interrupt();
    told.error(
        &cluster.run(&["up", "--nodes", "1", "--data-dir", &data]),
        1,
        "this cluster has 2 nodes: it can get more of them, but not fewer; a new one, after `coracle down` or with another \
         --data-dir, can have 1",
    );
    damaged(&cluster, &mut told);
    cluster.up();
    cluster.stop();
    told.as_expected();
}

/// Files of a cluster that has stopped, damaged one after the other and put back.
fn damaged(cluster: &Cluster, told: &mut Told) {
    let data = text(&cluster.data_dir());
    let file = cluster.data_dir().join("store/coracle.db");
    let store = text(&file);
    let whole = fs::read(&file).expect("the store");
    let up = || cluster.run(&["up", "--data-dir", &data]);

    fs::write(&file, [b"garbage", &whole[7..]].concat()).expect("our own file");
    told.error(
        &up(),
        1,
        &format!(
            "the store {store} cannot be read (file is not a database): put a backup in its place, or move the file away to \
             start empty"
        ),
    );
    fs::write(&file, &whole[..9_000]).expect("our own file");
    told.error(
        &up(),
        1,
        &format!(
            "the store {store} cannot be read (database disk image is malformed): put a backup in its place, or move the file \
             away to start empty"
        ),
    );
    fs::write(&file, &whole).expect("our own file");
    let database = rusqlite::Connection::open(&file).expect("the store");
    let set = |format: u8| {
        let sql = "UPDATE meta SET value = ?1 WHERE name = 'format'";
        assert_eq!(database.execute(sql, [format]).expect("the store"), 1);
    };
    set(99);
    told.error(
        &up(),
        1,
        &format!(
            "the store {store} has format 99, and this version knows none above 1: use the version that wrote it, or a newer one"
        ),
    );
    set(1);
    drop(database);
    let settings = cluster.data_dir().join("cluster.json");
    let good = fs::read(&settings).expect("the settings");
    fs::write(&settings, "{\n").expect("our own file");
    told.error(
        &up(),
        1,
        &format!(
            "{} is damaged: put a copy in its place, or remove the folder to start anew: EOF while parsing an object at line 2 \
             column 0",
            settings.display()
        ),
    );
    fs::write(&settings, good).expect("our own file");
}
