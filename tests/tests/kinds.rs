//! The kinds that manifests bring along, through the real kubectl; and `kubectl drain`, which asks disruption budgets.

use std::time::{Duration, Instant};

use coracle_tests::cluster::Options;
use coracle_tests::{Cluster, Kubectl};

/// `kubectl create` and what it says.
const GENERATED: [(&[&str], &str); 12] = [
    (&["job", "j", "--image=nginx"], "job.batch/j created"),
    (
        &["cronjob", "cj", "--image=nginx", "--schedule=*/5 * * * *"],
        "cronjob.batch/cj created",
    ),
    (&["quota", "q", "--hard=cpu=1,pods=2"], "resourcequota/q created"),
    (
        &[
            "poddisruptionbudget",
            "pdb",
            "--selector=app=web",
            "--min-available=1",
        ],
        "poddisruptionbudget.policy/pdb created",
    ),
    (
        &["priorityclass", "high", "--value=1000"],
        "priorityclass.scheduling.k8s.io/high created",
    ),
    (
        &["ingress", "ing", "--rule=example.com/*=web:80"],
        "ingress.networking.k8s.io/ing created",
    ),
    (
        &["role", "r", "--verb=get", "--resource=pods"],
        "role.rbac.authorization.k8s.io/r created",
    ),
    (
        &["rolebinding", "rb", "--role=r", "--user=u"],
        "rolebinding.rbac.authorization.k8s.io/rb created",
    ),
    (
        &["clusterrole", "cr", "--verb=get", "--resource=pods"],
        "clusterrole.rbac.authorization.k8s.io/cr created",
    ),
    (
        &["clusterrolebinding", "crb", "--clusterrole=cr", "--group=g"],
        "clusterrolebinding.rbac.authorization.k8s.io/crb created",
    ),
    (
        &["deployment", "web", "--image=nginx"],
        "deployment.apps/web created",
    ),
    (&["serviceaccount", "robot"], "serviceaccount/robot created"),
];

/// What has no generator.
const MANIFEST: &str = r#"
apiVersion: v1
kind: ReplicationController
metadata: { name: old }
spec: { selector: { app: old }, template: { metadata: { labels: { app: old } }, spec: { containers: [{ name: c, image: nginx }] } } }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db }
spec:
  serviceName: db
  selector: { matchLabels: { app: db } }
  template: { metadata: { labels: { app: db } }, spec: { containers: [{ name: c, image: nginx }] } }
  volumeClaimTemplates: [{ metadata: { name: data }, spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } }]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent }
spec:
  selector: { matchLabels: { app: agent } }
  template: { metadata: { labels: { app: agent } }, spec: { containers: [{ name: c, image: nginx }] } }
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: { name: rev }
data: { spec: 1 }
revision: 1
---
apiVersion: v1
kind: LimitRange
metadata: { name: limits }
spec: { limits: [{ type: Container, max: { cpu: "2" } }] }
---
apiVersion: v1
kind: PersistentVolume
metadata: { name: disk }
spec: { capacity: { storage: 1Gi }, accessModes: [ReadWriteOnce], hostPath: { path: /tmp/disk } }
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: claim }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: PodTemplate
metadata: { name: pt }
template: { spec: { containers: [{ name: c, image: nginx }] } }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: own }
spec: { controller: example.com/ingress }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed }
spec: { podSelector: {} }
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: fast }
provisioner: example.com/fast
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: { name: plain }
handler: plain
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: hpa }
spec: { scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }, maxReplicas: 3 }
"#;

/// Every object made here, and the line of `kubectl get` without the age.
const ROWS: [(&str, &str, &str); 22] = [
    ("job", "j", "Running 0/1"),
    ("cronjob", "cj", "*/5 * * * * <none> False 0 <none>"),
    ("quota", "q", ""),
    ("pdb", "pdb", "1 N/A"),
    ("pc", "high", "1000 false"),
    ("ing", "ing", "<none> example.com 80"),
    ("role", "r", ""),
    ("rolebinding", "rb", "Role/r"),
    ("clusterrole", "cr", ""),
    ("clusterrolebinding", "crb", "ClusterRole/cr"),
    ("rc", "old", "1 0 0"),
    ("sts", "db", "0/1"),
    ("ds", "agent", "0 0 0 0 0 <none>"),
    ("controllerrevision", "rev", "<none> 1"),
    ("limits", "limits", ""),
    ("pv", "disk", "1Gi RWO Retain Pending"),
    ("pvc", "claim", "Pending"),
    ("podtemplate", "pt", "c nginx <none>"),
    ("ingressclass", "own", "example.com/ingress <none>"),
    ("netpol", "closed", "<none>"),
    ("sc", "fast", "example.com/fast Delete Immediate false"),
    ("runtimeclass", "plain", "plain"),
];

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_kind_is_made_shown_changed_and_deleted() {
    let cluster = Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    for (args, wanted) in GENERATED {
        let args = [&["create"], args].concat();
        assert_eq!(kubectl.ok(&args).trim_end(), wanted, "{args:?}");
    }
    let warned = kubectl.run_with_input(&["create", "-f", "-"], MANIFEST);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(
        warned
            .stderr
            .contains("Warning: this StatefulSet is stored, but nothing acts on it yet"),
        "{warned:?}"
    );
    assert!(!warned.stderr.contains("HorizontalPodAutoscaler"), "{warned:?}");
    for (kind, name, wanted) in ROWS {
        let row = spaced(&kubectl.ok(&["get", kind, name, "--no-headers"]));
        assert!(
            row.starts_with(spaced(&format!("{name} {wanted}")).as_str()),
            "{kind}: {row}"
        );
        let told = kubectl.ok(&["describe", kind, name]);
        assert!(
            told.lines().next().is_some_and(|line| line.starts_with("Name:")),
            "{kind}: {told}"
        );
        kubectl.ok(&["explain", kind]);
        kubectl.ok(&["label", kind, name, "seen=yes"]);
        let shown = kubectl.json(&[kind, name]);
        assert_eq!(shown["metadata"]["labels"]["seen"], "yes");
    }
    kubectl.ok(&["scale", "sts/db", "--replicas=3"]);
    assert_eq!(kubectl.json(&["sts/db"])["spec"]["replicas"], 3);
    for (kind, name, _) in ROWS {
        assert!(kubectl.ok(&["delete", kind, name]).contains("deleted"), "{kind}");
    }
    let classes = kubectl.ok(&["get", "priorityclasses", "-o", "name"]);
    assert_eq!(
        classes,
        "priorityclass.scheduling.k8s.io/system-cluster-critical\npriorityclass.scheduling.k8s.io/system-node-critical\n"
    );
    cluster.stop();
}

/// Waits until a budget allows so many disruptions.
fn allows(kubectl: &Kubectl, budget: &str, disruptions: u32) {
    kubectl.ok(&[
        "wait",
        "--timeout=60s",
        &format!("--for=jsonpath={{.status.disruptionsAllowed}}={disruptions}"),
        &format!("pdb/{budget}"),
    ]);
}

#[test]
fn drain_waits_for_the_budget() {
    let cluster = Cluster::start_with(Options {
        nodes: 2,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    kubectl.ok(&["create", "deployment", "web", "--image=nginx", "--replicas=2"]);
    kubectl.ok(&["create", "pdb", "web", "--selector=app=web", "--min-available=2"]);
    kubectl.rolled_out("web");
    allows(&kubectl, "web", 0);
    let pods = kubectl.json(&["pods", "-l", "app=web"]);
    let node = pods["items"][0]["spec"]["nodeName"].as_str().unwrap().to_owned();

    let refused = kubectl.fails(&["drain", &node, "--timeout=3s"]);
    let why = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert!(refused.contains(why), "{refused}");
    assert_eq!(kubectl.json(&["pdb", "web"])["status"]["currentHealthy"], 2);

    kubectl.ok(&[
        "patch",
        "pdb",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"minAvailable":1}}"#,
    ]);
    allows(&kubectl, "web", 1);
    let begun = Instant::now();
    let drained = kubectl.ok(&["drain", &node, "--timeout=60s"]);
    assert!(drained.contains(&format!("node/{node} drained")), "{drained}");
    assert!(begun.elapsed() < Duration::from_secs(60));
    kubectl.rolled_out("web");
    let on_node = kubectl.json(&[
        "pods",
        "-l",
        "app=web",
        &format!("--field-selector=spec.nodeName={node}"),
    ]);
    assert_eq!(on_node["items"].as_array().map(Vec::len), Some(0));
    cluster.stop();
}

/// Two processors' worth of load at most, for two minutes at most.
const BUSY: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: busy }
spec:
  selector: { matchLabels: { app: busy } }
  template:
    metadata: { labels: { app: busy } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: host
        command: [timeout, "120", sh, -c, "while :; do :; done"]
        resources: { requests: { cpu: 50m } }
"#;

#[test]
fn usage_is_shown_and_scales_a_deployment() {
    let cluster = Cluster::start_with(Options {
        nodes: 1,
        ..Options::default()
    });
    let kubectl = cluster.kubectl();
    kubectl.apply(BUSY);
    kubectl.rolled_out("busy");
    kubectl.ok(&[
        "autoscale",
        "deployment",
        "busy",
        "--min=1",
        "--max=2",
        "--cpu-percent=50",
    ]);
    // One pod of at most a processor asks for far more than its 50m; two are allowed.
    kubectl.ok(&[
        "wait",
        "--timeout=90s",
        "--for=jsonpath={.spec.replicas}=2",
        "deployment/busy",
    ]);
    let told = kubectl.event("busy", "SuccessfulRescale");
    assert_eq!(
        told,
        "New size: 2; reason: cpu resource utilization (percentage of request) above target"
    );
    let top = kubectl.ok(&["top", "pods", "-l", "app=busy", "--no-headers"]);
    let used = top
        .split_whitespace()
        .nth(1)
        .and_then(|cell| cell.strip_suffix('m')?.parse::<u32>().ok());
    assert!(used.is_some_and(|used| used > 50), "{top}");
    assert!(kubectl.ok(&["top", "nodes"]).contains("CPU(cores)"));
    let shown = kubectl.json(&["hpa", "busy"]);
    let conditions = shown["status"]["conditions"].as_array().unwrap();
    let reason = |kind: &str| {
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        found.and_then(|condition| condition["reason"].as_str())
    };
    assert_eq!(reason("ScalingActive"), Some("ValidMetricFound"));
    assert_eq!(reason("ScalingLimited"), Some("TooManyReplicas"));
    let row = spaced(&kubectl.ok(&["get", "hpa", "busy", "--no-headers"]));
    assert!(
        row.starts_with("busy Deployment/busy cpu: ") && row.contains("%/50% 1 2"),
        "{row}"
    );
    kubectl.ok(&["autoscale", "deployment", "busy", "--name=rival", "--max=9"]);
    assert_eq!(
        kubectl.event("rival", "AmbiguousSelector"),
        "pods by selector app=busy are controlled by multiple HPAs: [default/busy default/rival]"
    );
    cluster.stop();
}
