"""What programs do with the official Python client: every verb on every kind, watches, and the streams of a pod.

Uses the current kubeconfig. A line for each part that has passed; whatever fails ends it with a traceback.
"""

import json
import pathlib
import sys

from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError
from kubernetes.dynamic.resource import ResourceList
from kubernetes.stream import portforward, stream

MERGE, JSON, STRATEGIC = (f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch"))
NAMESPACE = "default"
HERE = pathlib.Path(__file__).parent


def every_kind(api):
    """Lists, creates, gets, watches, patches, applies and deletes an object of every kind that discovery tells of."""
    specs = json.loads((HERE / "kinds.json").read_text())
    kinds = {
        f"{resource.group_version}/{resource.kind}": resource
        for resource in api.resources.search()
        if not isinstance(resource, ResourceList) and {"create", "list", "watch", "patch"} <= set(resource.verbs)
    }
    assert kinds.keys() == specs.keys(), f"kinds served and kinds here differ: {kinds.keys() ^ specs.keys()}"
    for name, resource in kinds.items():
        one_kind(resource, name.rpartition("/")[0], specs[name])
    print(f"kinds: {len(kinds)}")


def one_kind(resource, version, spec):
    where = {"namespace": NAMESPACE} if resource.namespaced else {}
    name = f"of-{resource.kind.lower()}"
    body = {"apiVersion": version, "kind": resource.kind, "metadata": {"name": name, **where}, **spec}
    before = resource.get(**where).metadata.resourceVersion
    made = resource.create(body=body, **where)
    assert made.metadata.uid and made.metadata.resourceVersion, made
    for content, patch in (
        (MERGE, {"metadata": {"labels": {"by": "merge"}}}),
        (STRATEGIC, {"metadata": {"labels": {"also": "strategic"}}}),
        (JSON, [{"op": "add", "path": "/metadata/labels/and", "value": "json"}]),
    ):
        resource.patch(body=patch, name=name, content_type=content, **where)
    labels = resource.get(name=name, **where).metadata.labels.to_dict()
    assert labels.items() >= {"by": "merge", "also": "strategic", "and": "json"}.items(), labels

    applied = {**body, "metadata": {**body["metadata"], "labels": {"by": "apply"}}}
    manager = {"field_manager": "python-test", **where}
    try:
        resource.server_side_apply(body=applied, name=name, **manager)
        raise AssertionError(f"{name}: no conflict")
    except ConflictError as error:
        assert "conflict" in str(error.body), error.body
    forced = resource.server_side_apply(body=applied, name=name, force_conflicts=True, **manager)
    assert forced.metadata.labels["by"] == "apply", forced
    resource.delete(name=name, body={"gracePeriodSeconds": 0}, **where)
    seen = []
    for event in resource.watch(resource_version=before, field_selector=f"metadata.name={name}", timeout=20, **where):
        seen.append(event["type"])
        # A namespace and what has pods go in their own time; that they are to go is told at once.
        if seen[-1] == "DELETED" or event["object"].metadata.deletionTimestamp:
            break
    assert seen[0] == "ADDED" and seen.count("MODIFIED") >= 3, f"{name}: {seen}"


def typed(core, apps):
    """The generated classes: a Deployment is made, scaled, rolled and read back in pieces."""
    labels = {"app": "web"}
    container = client.V1Container(name="c", image="webserver:1", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template)
    deployment = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
    apps.create_namespaced_deployment(NAMESPACE, deployment)
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 3}})
    until_complete(apps)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "webserver:2"}]}}}}
    apps.patch_namespaced_deployment("web", NAMESPACE, image)
    until_complete(apps)

    def running():
        return [each for each in pods(core) if each.metadata.deletion_timestamp is None]

    assert {each.spec.containers[0].image for each in running()} == {"webserver:2"}
    whole = core.list_namespaced_pod(NAMESPACE, label_selector="app=web")
    first = core.list_namespaced_pod(NAMESPACE, label_selector="app=web", limit=1)
    names, more = [each.metadata.name for each in first.items], first.metadata._continue
    while more:
        page = core.list_namespaced_pod(NAMESPACE, label_selector="app=web", limit=1, _continue=more)
        names += [each.metadata.name for each in page.items]
        more = page.metadata._continue
    assert len(names) == len(set(names)) >= 3 and len(whole.items) >= 3, names
    print("typed: Deployment scaled and rolled")


def pods(core):
    return core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items


def until_complete(apps):
    for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60):
        found = event["object"]
        if found.metadata.name == "web" and found.status.observed_generation == found.metadata.generation:
            counts = (found.status.replicas, found.status.updated_replicas, found.status.available_replicas)
            if counts == (3, 3, 3):
                return
    raise AssertionError("the Deployment is not complete in time")


def streams(core):
    """exec both ways and its exit code, logs that are followed, a port that is forwarded."""
    pod = next(each.metadata.name for each in pods(core) if each.metadata.deletion_timestamp is None)
    session = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        NAMESPACE,
        command=["sh", "-c", "read line; echo got $line; echo bad >&2; exit 7"],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    session.write_stdin("this\n")
    session.run_forever(timeout=20)
    said = (session.read_stdout(), session.read_stderr(), session.returncode)
    assert said == ("got this\n", "bad\n", 7), said

    forward = portforward(core.connect_get_namespaced_pod_portforward, pod, NAMESPACE, ports="80")
    connection = forward.socket(80)
    connection.setblocking(True)
    connection.settimeout(20)
    connection.sendall(b"GET /marker HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    assert answer.startswith(b"HTTP/1.1 ") and pod.encode() in answer, answer
    assert forward.error(80) is None, forward.error(80)

    body = client.V1Pod(
        metadata=client.V1ObjectMeta(name="talker"),
        spec=client.V1PodSpec(
            restart_policy="Never",
            containers=[
                client.V1Container(
                    name="c", image="host", command=["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done"]
                )
            ],
        ),
    )
    core.create_namespaced_pod(NAMESPACE, body)
    for event in watch.Watch().stream(
        core.list_namespaced_pod, NAMESPACE, field_selector="metadata.name=talker", timeout_seconds=30
    ):
        if event["object"].status.phase in ("Running", "Succeeded"):
            break
    lines = list(watch.Watch().stream(core.read_namespaced_pod_log, "talker", NAMESPACE, follow=True))
    assert lines == ["line 1", "line 2", "line 3"], lines
    print("streams: exec, port-forward, logs")


def errors(core):
    """What a program asks for in vain is an exception with upstream's code and Status."""
    for code, reason, call in (
        (404, "NotFound", lambda: core.read_namespaced_pod("none", NAMESPACE)),
        (409, "AlreadyExists", lambda: core.create_namespace({"metadata": {"name": NAMESPACE}})),
        (422, "Invalid", lambda: core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "Not_A_Name"}})),
        (410, "Expired", lambda: core.list_namespaced_config_map(NAMESPACE, limit=1, _continue="e30")),
    ):
        try:
            call()
        except ApiException as error:
            status = json.loads(error.body)
            if code != 410:
                assert (error.status, status["reason"]) == (code, reason), error
            else:
                assert error.status in (400, 410), error
        else:
            raise AssertionError(f"no {code}")
    print("errors: as upstream's")


def main():
    config.load_kube_config()
    api = client.ApiClient()
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    every_kind(dynamic.DynamicClient(api, discoverer=dynamic.discovery.EagerDiscoverer, cache_file=sys.argv[1]))
    typed(core, apps)
    streams(core)
    errors(core)


main()
