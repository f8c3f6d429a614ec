// What @kubernetes/client-node does against a server: create, patch, watch, logs, exec, delete.
// node client_node.mjs KUBECONFIG NAMESPACE IMAGE MODULE; prints one line a step, exits 1 at the first surprise.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';

const [kubeconfig, namespace, image, module] = process.argv.slice(2);
const k8s = await import(module);
const config = new k8s.KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const step = (text) => console.log(`ok ${text}`);

const made = await core.createNamespacedPod({
  namespace,
  body: {
    metadata: { name: 'js', labels: { app: 'js' } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', image, command: ['sh', '-c', 'echo hello; mkdir -p /www; echo forwarded > /www/index.html; exec httpd -f -p 8080 -h /www'] }] },
  },
});
assert.equal(made.metadata.name, 'js');
assert.ok(made.metadata.creationTimestamp instanceof Date);
step('create');

const watch = new k8s.Watch(config);
await new Promise((resolve, reject) => {
  watch.watch(`/api/v1/namespaces/${namespace}/pods`, { resourceVersion: made.metadata.resourceVersion },
    (type, pod) => {
      assert.ok(['ADDED', 'MODIFIED', 'BOOKMARK'].includes(type), type);
      if (pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')) {
        resolve();  // the watch goes on until the program ends
      }
    },
    (error) => reject(error ?? new Error('the watch ended'))).catch(reject);
});
step('watch');

const patched = await core.patchNamespacedPod(
  { name: 'js', namespace, body: [{ op: 'add', path: '/metadata/labels/patched', value: 'yes' }] },
  k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch));
assert.equal(patched.metadata.labels.patched, 'yes');
const applied = await core.patchNamespacedConfigMap(
  { name: 'js', namespace, fieldManager: 'js', body: { apiVersion: 'v1', kind: 'ConfigMap', data: { a: '1' } } },
  k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply));
assert.equal(applied.metadata.managedFields[0].operation, 'Apply');
step('patch');

assert.equal((await core.readNamespacedPodLog({ name: 'js', namespace })).trim(), 'hello');
step('logs');

const out = new PassThrough();
let text = '';
out.on('data', (chunk) => { text += chunk; });
const status = await new Promise((resolve, reject) => {
  new k8s.Exec(config).exec(namespace, 'js', 'c', ['sh', '-c', 'echo from exec; exit 3'], out, process.stderr, null, false, resolve)
    .catch(reject);
});
assert.equal(text.trim(), 'from exec');
assert.equal(status.status, 'Failure');
assert.equal(status.details.causes[0].message, '3');
step('exec');

const answer = await new Promise((resolve, reject) => {
  const input = new PassThrough(), output = new PassThrough();
  let got = '';
  output.on('data', (chunk) => {
    got += chunk;
    if (got.endsWith('forwarded\n')) resolve(got);
  });
  new k8s.PortForward(config).portForward(namespace, 'js', [8080], output, process.stderr, input).catch(reject);
  input.write('GET / HTTP/1.0\r\n\r\n');
});
assert.match(answer, /^HTTP\/1\.[01] 200 OK/);
step('port-forward');

const listed = await core.listNamespacedPod({ namespace, labelSelector: 'app=js' });
assert.equal(listed.items.length, 1);
assert.equal((await apps.listNamespacedDeployment({ namespace })).items.length, 0);
await assert.rejects(core.readNamespacedPod({ name: 'nobody', namespace }), (error) => error.code === 404);
await core.deleteNamespacedPod({ name: 'js', namespace, gracePeriodSeconds: 0 });
step('list, errors, delete');
process.exit(0);
