use super::*;
use crate::images::Program;
use serde_json::json;

fn place() -> Place {
    Place {
        namespace: "default".into(),
        name: "web-1".into(),
        uid: "u-1".into(),
        ip: Ipv4Addr::new(127, 10, 1, 2),
        host_network: false,
        ports: [("80/TCP".to_owned(), 20_001)].into(),
    }
}

fn objects() -> Objects {
    let map = json!({"data": {"color": "blue", "size": "7"}});
    let secret = json!({"data": {"key": "aHVzaA=="}});
    Objects {
        config_maps: [("settings".to_owned(), serde_json::from_value(map).unwrap())].into(),
        secrets: [("keys".to_owned(), serde_json::from_value(secret).unwrap())].into(),
    }
}

fn host() -> Image {
    Image {
        program: Program::Host,
        stop_signal: 15,
    }
}

/// Prepares the container of a new pod with this spec.
fn run(spec: serde_json::Value, image: &Image) -> Result<Start, StartError> {
    run_in(tempfile::tempdir().unwrap().path(), spec, image)
}

/// The same in a pod's folder, where it may have run before.
fn run_in(dir: &Path, spec: serde_json::Value, image: &Image) -> Result<Start, StartError> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "labels": {"app": "web"}, "annotations": {"a/b": "c"}},
        "spec": spec,
    }))
    .unwrap();
    let shop =
        json!({"metadata": {"name": "shop"}, "spec": {"clusterIP": "127.96.0.7", "ports": [{"port": 80}]}});
    let site = Site {
        pod: &pod,
        dir,
        place: &place(),
        services: &[Arc::new(serde_json::from_value(shop).unwrap())],
        node: "node-1",
        node_ip: Ipv4Addr::new(127, 10, 1, 1),
        program: Path::new("/bin/coracle"),
        machine: (8, 1 << 30),
    };
    let container = &pod.spec.as_ref().unwrap().containers[0];
    prepare(&site, container, 0, image, &objects())
}

fn variable(start: &Start, name: &str) -> Option<String> {
    start
        .env
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.clone())
}

#[test]
fn a_container_knows_its_place_and_ports() {
    let spec = json!({"containers": [{
        "name": "c", "image": "host", "command": ["serve", "--at", "$(HOST):$(PORT)", "$$(PORT)", "$(NONE)"],
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
        "env": [{"name": "URL", "value": "http://$(POD_IP):$(PORT_80)/"}, {"name": "PORT_80", "value": "mine"}],
    }]});
    let start = run(spec, &host()).unwrap();
    assert_eq!(start.program, "serve");
    assert_eq!(start.args, ["--at", "127.10.1.2:20001", "$(PORT)", "$(NONE)"]);
    for (name, value) in [
        ("URL", "http://127.10.1.2:20001/"),
        ("PORT_80", "mine"),
        ("PORT_53", "53"),
        ("CORACLE_POD_UID", "u-1"),
        ("CORACLE_CONTAINER", "c"),
    ] {
        assert_eq!(variable(&start, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn the_port_of_a_container_that_has_udp_only_is_that() {
    let spec = json!({"containers": [{
        "name": "c", "image": "host", "command": ["serve", "$(PORT)"],
        "ports": [{"containerPort": 5353, "protocol": "UDP"}],
    }]});
    assert_eq!(run(spec, &host()).unwrap().args, ["5353"]);
}

#[test]
fn a_container_knows_the_services() {
    let spec = json!({"containers": [{
        "name": "c", "image": "host", "command": ["curl", "$(SHOP_PORT)"],
        "env": [
            {"name": "URL", "value": "http://$(SHOP_SERVICE_HOST)/"},
            {"name": "SHOP_SERVICE_HOST", "value": "mine"},
        ],
    }]});
    let start = run(spec, &host()).unwrap();
    assert_eq!(start.args, ["tcp://127.96.0.7:80"]);
    for (name, value) in [
        ("URL", "http://127.96.0.7/"),
        ("SHOP_SERVICE_HOST", "mine"),
        ("SHOP_SERVICE_PORT", "80"),
    ] {
        assert_eq!(variable(&start, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn references_are_followed() {
    let key = |kind: &str, name: &str, key: &str| json!({kind: {"name": name, "key": key}});
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let resource =
        |name: &str, divisor: &str| json!({"resourceFieldRef": {"resource": name, "divisor": divisor}});
    for (source, expected) in [
        (key("configMapKeyRef", "settings", "color"), Ok("blue")),
        (key("secretKeyRef", "keys", "key"), Ok("hush")),
        (
            key("configMapKeyRef", "settings", "x"),
            Err("couldn't find key x in ConfigMap default/settings"),
        ),
        (
            key("configMapKeyRef", "nope", "x"),
            Err("configmap \"nope\" not found"),
        ),
        (key("secretKeyRef", "nope", "x"), Err("secret \"nope\" not found")),
        (field("metadata.labels['app']"), Ok("web")),
        (field("metadata.annotations['a/b']"), Ok("c")),
        (field("status.podIP"), Ok("127.10.1.2")),
        (field("status.hostIP"), Ok("127.10.1.1")),
        (field("spec.nodeName"), Ok("node-1")),
        (field("spec.nope"), Err("unsupported fieldPath: spec.nope")),
        (resource("limits.cpu", "1"), Ok("8")),
        (resource("limits.memory", "1Mi"), Ok("1024")),
        (resource("requests.cpu", "1m"), Ok("250")),
        (resource("requests.cpu", "1"), Ok("1")),
    ] {
        let spec = json!({"containers": [{
            "name": "c", "image": "host", "command": ["true"], "resources": {"requests": {"cpu": "250m"}},
            "env": [{"name": "X", "valueFrom": source}],
        }]});
        match (run(spec, &host()), expected) {
            (Ok(start), Ok(value)) => assert_eq!(variable(&start, "X").as_deref(), Some(value)),
            (Err(error), Err(text)) => {
                assert_eq!(error.to_string(), text);
                assert_eq!(error.reason(), "CreateContainerConfigError");
            }
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn whole_maps_become_variables() {
    let spec = json!({"containers": [{
        "name": "c", "image": "host", "command": ["true"],
        "envFrom": [
            {"prefix": "S_", "configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "keys"}},
            {"configMapRef": {"name": "nope", "optional": true}},
        ],
    }]});
    let start = run(spec, &host()).unwrap();
    assert_eq!(variable(&start, "S_color").as_deref(), Some("blue"));
    assert_eq!(variable(&start, "key").as_deref(), Some("hush"));
}

#[test]
fn command_and_args_replace_those_of_the_image() {
    let user = Image {
        program: Program::User {
            program: "/bin/shop".into(),
            args: vec!["--port=$(PORT)".into()],
            env: [].into(),
        },
        stop_signal: 2,
    };
    let stand_in = Image {
        program: Program::Webserver(true),
        stop_signal: 3,
    };
    for (image, command, args, expected) in [
        (&user, json!([]), json!([]), "/bin/shop --port=20001"),
        (&user, json!([]), json!(["-v"]), "/bin/shop -v"),
        (&user, json!(["sh"]), json!(["-c"]), "sh -c"),
        (&stand_in, json!([]), json!([]), "/bin/coracle webserver"),
        (
            &stand_in,
            json!(["nginx", "-g", "daemon off;"]),
            json!([]),
            "/bin/coracle webserver",
        ),
        (&stand_in, json!(["sleep"]), json!(["9"]), "sleep 9"),
    ] {
        let spec = json!({"containers": [{
            "name": "c", "image": "x", "command": command, "args": args, "ports": [{"containerPort": 80}],
        }]});
        let start = run(spec, image).unwrap();
        let words: Vec<&str> = std::iter::once(&start.program)
            .chain(&start.args)
            .map(String::as_str)
            .collect();
        assert_eq!(words.join(" "), expected);
        assert_eq!(start.stop_signal, image.stop_signal);
    }
    let nothing = run(json!({"containers": [{"name": "c", "image": "host"}]}), &host()).unwrap_err();
    assert_eq!(
        (nothing.reason(), nothing.to_string().as_str()),
        ("CreateContainerError", "no command specified")
    );
}

#[test]
fn volumes_are_folders() {
    let volumes = json!([
        {"name": "scratch", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "settings", "items": [{"key": "color", "path": "a/../../b"}]}},
    ]);
    let spec = json!({
        "containers": [{
            "name": "c", "image": "host", "command": ["true"],
            "volumeMounts": [{"name": "conf", "mountPath": "/etc/../conf"}],
        }],
        "volumes": volumes,
    });
    let start = run(spec, &host()).unwrap();
    let conf = variable(&start, "CORACLE_VOLUME_CONF").unwrap();
    assert!(conf.ends_with("/.volumes/conf"), "{conf}");
    assert!(variable(&start, "CORACLE_VOLUME_SCRATCH").is_some());
    let unsupported = json!({"containers": [{"name": "c"}], "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]});
    let error = run(unsupported, &host()).unwrap_err();
    assert_eq!(error.reason(), "ContainerCreating");
    assert!(
        error
            .to_string()
            .starts_with("MountVolume.SetUp failed for volume \"v\" : its kind is not supported"),
        "{error}"
    );
    for (volume, expected) in [
        (
            json!({"configMap": {"name": "nope"}}),
            "configmap \"nope\" not found",
        ),
        (
            json!({"secret": {"secretName": "nope"}}),
            "secret \"nope\" not found",
        ),
        (
            json!({"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}}),
            "configmap references non-existent config key: x",
        ),
    ] {
        let mut volume = volume;
        volume["name"] = "v".into();
        let spec = json!({"containers": [{"name": "c"}], "volumes": [volume]});
        assert_eq!(
            run(spec, &host()).unwrap_err().to_string(),
            format!("MountVolume.SetUp failed for volume \"v\" : {expected}")
        );
    }
}

#[test]
fn a_mount_in_a_mount_lies_in_its_volume() {
    let dir = tempfile::tempdir().unwrap();
    let spec = json!({
        "containers": [{
            "name": "c", "image": "host", "command": ["true"],
            "volumeMounts": [
                {"name": "conf", "mountPath": "/data/conf", "subPath": "color"},
                {"name": "scratch", "mountPath": "/data/"},
                {"name": "scratch", "mountPath": "/logs", "subPath": "a/logs"},
            ],
        }],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "settings"}}],
    });
    for _restart in 0..2 {
        let start = run_in(dir.path(), spec.clone(), &host()).unwrap();
        let root = PathBuf::from(start.dir);
        assert_eq!(std::fs::read_to_string(root.join("data/conf")).unwrap(), "blue");
        let scratch = dir.path().join(".volumes/scratch");
        assert!(scratch.join("conf").is_symlink());
        std::fs::write(root.join("logs/log"), "").unwrap();
        assert!(scratch.join("a/logs/log").exists());
    }
}

/// A pod in a sandbox, or of another user, may change its own folders and nothing else. What it leaves there must not make
/// the agent, which may, write elsewhere when the container is started again.
#[test]
fn links_that_a_pod_made_lead_the_agent_nowhere() {
    use std::fs;
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (pod, other) = (dir.path().join("pod"), dir.path().join("other"));
    fs::create_dir_all(&other).unwrap();
    fs::create_dir(&pod).unwrap();
    fs::write(other.join("file"), "kept").unwrap();
    let spec = |mount: serde_json::Value| {
        json!({
            "containers": [{"name": "c", "image": "nginx", "volumeMounts": [mount]}],
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "conf", "configMap": {"name": "settings"}}],
        })
    };
    let nginx = Image {
        program: Program::Nginx("/usr/sbin/nginx".into()),
        stop_signal: 3,
    };
    let start = |mount| run_in(&pod, spec(mount), &nginx);
    let plain = || json!({"name": "scratch", "mountPath": "/data"});
    start(plain()).unwrap();
    for (link, target) in [
        (".root/c/way", other.clone()),
        (".volumes/scratch/way", other.clone()),
        (".volumes/scratch/file", other.join("file")),
    ] {
        symlink(target, pod.join(link)).unwrap();
    }
    let conf = pod.join(".nginx/c/nginx.conf");
    fs::remove_file(&conf).unwrap();
    symlink(other.join("file"), &conf).unwrap();
    start(plain()).unwrap();
    assert!(!conf.is_symlink(), "nginx would read what the pod likes");
    for (mount, reason) in [
        (json!({"name": "conf", "mountPath": "/way/new"}), "cannot write"),
        (
            json!({"name": "scratch", "mountPath": "/d", "subPath": "way"}),
            "leads out of the volume",
        ),
        (
            json!({"name": "scratch", "mountPath": "/d", "subPath": "way/new"}),
            "cannot write",
        ),
        (
            json!({"name": "scratch", "mountPath": "/d", "subPath": "file"}),
            "leads out of the volume",
        ),
    ] {
        let refused = start(mount).unwrap_err();
        assert_eq!(refused.reason(), "CreateContainerError");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    let names: Vec<_> = fs::read_dir(&other)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "kept");
}
