//! Commands about clusters, backups and images that cannot be.

use std::fs;
use std::path::Path;

use coracle_tests::{Cluster, User};

use crate::{Told, cluster, text};

#[test]
fn commands_that_cannot_be() {
    let mut cluster = cluster(User::Same);
    let mut told = Told::default();
    let data = text(&cluster.data_dir());
    let home = cluster.home();
    let none = text(&home.join("none"));

    let down = cluster.run(&["down", "--data-dir", &none]);
    told.text(&down.stdout, &format!("There is no cluster in {none}.\n"));
    assert_eq!(
        (down.code, &*down.stderr),
        (Some(0), ""),
        "what is not there is down"
    );
    told.error(
        &cluster.run(&["backup", "--data-dir", &none, "file"]),
        1,
        &format!("there is no cluster in {none}: name its folder with --data-dir"),
    );
    told.error(
        &cluster.run(&["node", "stop", "node-1", "--data-dir", &none]),
        1,
        &format!("there is no cluster in {none}: start one with `coracle up --data-dir {none}`"),
    );
    told.error(
        &cluster.run(&["get", "pods"]),
        1,
        "no cluster is known here: start one with `coracle up`",
    );

    fs::write(home.join("mine"), "mine\n").expect("our own folder");
    told.error(
        &cluster.run(&["backup", "--data-dir", &data, "mine"]),
        1,
        "mine exists already: choose another name, or move it away",
    );
    told.error(
        &cluster.run(&["backup", "--data-dir", &data, "/proc/backup"]),
        1,
        "cannot write /proc/backup (No such file or directory (os error 2)): check the folder's permissions and free space",
    );
    assert_eq!(
        cluster.run(&["backup", "--data-dir", &data, "good"]).code,
        Some(0)
    );
    for (file, reason) in [
        ("mine", "file is not a database"),
        ("missing", "unable to open database file: missing"),
    ] {
        told.error(
            &cluster.run(&["restore", "--data-dir", &none, file]),
            1,
            &format!("{file} is no backup of a cluster ({reason})"),
        );
    }
    assert!(
        !Path::new(&none).exists(),
        "a restore that failed has left something"
    );

    images(&cluster, &mut told);
    cluster.interrupt();
    told.error(
        &cluster.run(&["restore", "--data-dir", &data, "good"]),
        1,
        &format!(
            "there is a cluster in {data} already: remove it with `coracle down --data-dir {data}`, or choose another folder \
             with --data-dir"
        ),
    );
    told.error(
        &cluster.run(&["node", "stop", "node-1", "--data-dir", &data]),
        1,
        &format!("the server of {data} does not run: start it with `coracle up --data-dir {data}`"),
    );
    cluster.up();
    cluster.stop();
    told.as_expected();
}

fn images(cluster: &Cluster, told: &mut Told) {
    let data = text(&cluster.data_dir());
    told.error(
        &cluster.run(&["image", "add", "--data-dir", &data, "Shop", "--", "sh"]),
        1,
        "\"Shop\" is not an image name: use lower-case letters, digits, '.', '_', '-' and '/', then ':tag' if you like",
    );
    let catalogue = cluster.data_dir().join("images.yaml");
    fs::write(&catalogue, "- name: a\n  program: b\n  oops: c\n").expect("our own folder");
    told.error(
        &cluster.run(&["image", "list", "--data-dir", &data]),
        1,
        &format!(
            "{} is not a list of images: .[0]: unknown field `oops`, expected one of `name`, `program`, `args`, `env`, \
             `stopSignal` at line 3 column 3",
            catalogue.display()
        ),
    );
    fs::remove_file(catalogue).expect("our own file");
}
