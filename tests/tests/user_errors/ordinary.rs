//! What takes more rights than the user has.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use coracle_tests::{User, http};

use crate::{Told, cluster, refused, text};

#[test]
fn what_an_ordinary_user_may_not() {
    let cluster = cluster(User::Ordinary);
    let kubectl = cluster.kubectl();
    let mut told = Told::default();
    let locked = cluster.home().join("locked");
    fs::create_dir(&locked).expect("our own folder");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).expect("our own folder");
    let (folder, inside) = (text(&locked), text(&locked.join("inside")));
    let other = text(&cluster.home().join("other"));
    told.error(
        &cluster.run(&["up", "--api-port", "0", "--data-dir", &inside]),
        1,
        &format!("cannot make the data folder {inside}: choose another with --data-dir: Permission denied (os error 13)"),
    );
    told.error(
        &cluster.run(&["up", "--api-port", "0", "--data-dir", &folder]),
        1,
        &format!("cannot write to the data folder {folder}: choose another with --data-dir: Permission denied (os error 13)"),
    );
    told.error(
        &cluster.run(&[
            "up",
            "--api-port",
            "0",
            "--data-dir",
            &other,
            "--kubeconfig",
            &inside,
        ]),
        1,
        &format!(
            "the kubeconfig cannot be written: choose another file with --kubeconfig FILE: cannot write {inside}: permission \
             denied"
        ),
    );
    let data = text(&cluster.data_dir());
    told.error(
        &cluster.run(&["backup", "--data-dir", &data, &inside]),
        1,
        &format!("cannot write {inside} (Permission denied (os error 13)): check the folder's permissions and free space"),
    );
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim().parse().is_ok_and(|first: u16| first > 81) {
        told.error(
            &cluster.run(&["up", "--api-port", "81", "--data-dir", &other]),
            1,
            "cannot listen on 127.0.0.1:81: choose another port with --api-port: Permission denied (os error 13)",
        );
        kubectl.ok(&["create", "service", "clusterip", "low", "--tcp=81"]);
        let ip = http::cluster_ip(&kubectl, "low").ip();
        told.text(
            &kubectl.event("low", "PortNotBound"),
            &format!(
                "cannot listen on {ip}:81: this user may not listen on ports below 1024; use a port of 1024 or above or a Service \
                 of type NodePort, or allow it by: sysctl -w net.ipv4.ip_unprivileged_port_start=81"
            ),
        );
    }
    let me = fs::metadata(cluster.home()).map(|home| home.uid());
    let me = me.expect("our own folder");
    told.text(
        &refused(&kubectl, "other", "image: webserver, securityContext: {runAsUser: 4242}"),
        &format!(
            "Error: runAsUser 4242 needs root: start coracle as root, or leave runAsUser out and the container runs as {me}, like \
             coracle"
        ),
    );
    assert!(
        !Path::new(&other).exists(),
        "a start that failed has left something"
    );
    cluster.stop();
    told.as_expected();
}
