// What programs do with @kubernetes/client-node: every verb on every kind, an informer, and the streams of a pod.
//
// client.mjs LIBRARY. Uses the current kubeconfig. A line for each part that has passed; whatever fails ends it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';

const k8s = await import(process.argv[2]);
const namespace = 'default';
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

// The code of the answer that a call fails with.
const code = (call) => call.then(() => 200, (error) => error.code ?? error.statusCode ?? error);

// Lists, creates, reads, patches, applies and deletes an object of every kind.
async function everyKind() {
    const kinds = Object.entries(JSON.parse(readFileSync(new URL('kinds.json', import.meta.url))));
    for (const [id, spec] of kinds) {
        const [, apiVersion, kind] = /(.*)\/(.*)/.exec(id);
        const name = `of-${kind.toLowerCase()}`;
        const head = { apiVersion, kind, metadata: { name, namespace } };
        const made = await objects.create({ ...head, ...spec });
        assert.ok(made.metadata.uid, id);
        const list = await objects.list(apiVersion, kind, namespace);
        assert.ok(list.items.some((each) => each.metadata.name === name), id);
        const label = (labels) => ({ ...head, metadata: { ...head.metadata, labels } });
        const patch = (body, manager, force, strategy) => objects.patch(body, undefined, undefined, manager, force, strategy);
        await patch(label({ by: 'merge' }), undefined, undefined, k8s.PatchStrategy.MergePatch);
        await patch(label({ also: 'strategic' }), undefined, undefined, k8s.PatchStrategy.StrategicMergePatch);
        const { labels } = (await objects.read(head)).metadata;
        assert.deepEqual([labels.by, labels.also], ['merge', 'strategic'], id);
        const applied = { ...label({ by: 'apply' }), ...spec };
        const apply = (force) => patch(applied, 'node-test', force, k8s.PatchStrategy.ServerSideApply);
        assert.equal(await code(apply(false)), 409, id);
        assert.equal((await apply(true)).metadata.labels.by, 'apply', id);
        await objects.delete(head, undefined, undefined, 0);
    }
    console.log(`kinds: ${kinds.length}`);
}

// The generated classes and an informer: a Deployment is made, scaled by a patch, and its pods are followed.
async function informer() {
    const labels = { app: 'web' };
    const containers = [{ name: 'c', image: 'webserver:1', ports: [{ containerPort: 80 }] }];
    const template = { metadata: { labels }, spec: { containers } };
    const spec = { replicas: 2, selector: { matchLabels: labels }, template };
    const list = () => core.listNamespacedPod({ namespace, labelSelector: 'app=web' });
    const path = `/api/v1/namespaces/${namespace}/pods`;
    const follower = k8s.makeInformer(config, path, list, 'app=web');
    const ready = () => follower.list().filter((pod) => {
        const conditions = pod.status?.conditions ?? [];
        return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    });
    const until = (count) => new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`not ${count} ready pods in time`)), 30000);
        const look = () => ready().length === count && (clearTimeout(late), resolve());
        for (const event of ['add', 'update', 'delete']) follower.on(event, look);
        look();
    });
    await follower.start();
    await apps.createNamespacedDeployment({ namespace, body: { metadata: { name: 'web' }, spec } });
    await until(2);
    const body = [{ op: 'replace', path: '/spec/replicas', value: 3 }];
    await apps.patchNamespacedDeployment({ namespace, name: 'web', body });
    await until(3);
    await follower.stop();
    console.log('informer: Deployment scaled');
    return ready()[0].metadata.name;
}

// exec both ways and its exit code, a port that is forwarded, logs that are followed.
async function streams(pod) {
    const [input, out, bad] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const command = ['sh', '-c', 'read line; echo got $line; echo bad >&2; exit 7'];
    const status = await new Promise((resolve, reject) => {
        new k8s.Exec(config).exec(namespace, pod, 'c', command, out, bad, input, false, resolve).catch(reject);
        input.write('this\n');
    });
    out.end();
    bad.end();
    assert.deepEqual([await text(out), await text(bad)], ['got this\n', 'bad\n']);
    assert.equal(status.reason, 'NonZeroExitCode');
    assert.deepEqual(status.details.causes, [{ reason: 'ExitCode', message: '7' }]);

    const [request, answer] = [new PassThrough(), new PassThrough()];
    const socket = await new k8s.PortForward(config).portForward(namespace, pod, [80], answer, null, request);
    request.write('GET / HTTP/1.1\r\nHost: pod\r\n\r\n');
    const [first] = await once(answer, 'data');
    assert.match(String(first), /^HTTP\/1.1 200 /);
    socket.close();

    const container = { name: 'c', image: 'host', command: ['sh', '-c', 'for i in 1 2 3; do echo line $i; sleep 0.1; done'] };
    const body = { metadata: { name: 'talker' }, spec: { restartPolicy: 'Never', containers: [container] } };
    await core.createNamespacedPod({ namespace, body });
    await started('talker');
    const lines = new PassThrough();
    await new k8s.Log(config).log(namespace, 'talker', 'c', lines, { follow: true });
    assert.equal(await text(lines), 'line 1\nline 2\nline 3\n');
    console.log('streams: exec, port-forward, logs');
}

// Waits, by a watch, until a pod has started.
function started(name) {
    const path = `/api/v1/namespaces/${namespace}/pods`;
    return new Promise((resolve, reject) => {
        const seen = (_, pod) => ['Running', 'Succeeded'].includes(pod.status?.phase) && resolve();
        new k8s.Watch(config).watch(path, { fieldSelector: `metadata.name=${name}`, timeoutSeconds: 30 }, seen, reject);
    });
}

async function errors() {
    assert.equal(await code(core.readNamespacedPod({ namespace, name: 'none' })), 404);
    assert.equal(await code(core.createNamespace({ body: { metadata: { name: 'default' } } })), 409);
    const body = { metadata: { name: 'Not_A_Name' } };
    assert.equal(await code(core.createNamespacedConfigMap({ namespace, body })), 422);
    console.log("errors: as upstream's");
}

await everyKind();
await streams(await informer());
await errors();
process.exit(0);
