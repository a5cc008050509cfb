// Follows the ConfigMaps of a namespace with @kubernetes/client-node's informer: follow.mjs LIBRARY NAMESPACE.
//
// A line for each thing that the informer does: `list REVISION`, `watch REVISION`, `add|update|delete NAME REVISION`,
// `error TEXT`; and once it knows the ConfigMap `end`, its whole cache: `view {"NAME": "REVISION", ...}`.

const [library, namespace] = process.argv.slice(2);
const k8s = await import(library);

const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);

const list = async () => {
    const answer = await core.listNamespacedConfigMap({ namespace });
    say('list', answer.metadata.resourceVersion);
    return answer;
};
const follower = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list);

const tell = (what) => (configMap) => {
    const { name, resourceVersion } = configMap.metadata;
    say(what, name, resourceVersion);
    if (name === 'end' && what !== 'delete') {
        // Not before the rest of a list that it may have come by.
        setImmediate(() => {
            const all = follower.list(namespace).map((each) => [each.metadata.name, each.metadata.resourceVersion]);
            say('view', JSON.stringify(Object.fromEntries(all)));
            process.exit(0);
        });
    }
};
follower.on('add', tell('add'));
follower.on('update', tell('update'));
follower.on('delete', tell('delete'));
follower.on('connect', () => say('watch', follower.latestResourceVersion()));
// The informer goes on by itself when a watch ends or is too old; after any other error it is to be started again.
follower.on('error', (error) => {
    say('error', String(error).replaceAll('\n', ' '));
    setTimeout(() => follower.start(), 500);
});
await follower.start();
