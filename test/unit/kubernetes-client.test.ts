import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ApiError, isNotFound } from '../../src/kubernetes/api-error.ts';
import { Client } from '../../src/kubernetes/client.ts';
import { serviceAccountConnection } from '../../src/kubernetes/connection.ts';
import { connectionFromKubeconfig } from '../../src/kubernetes/connection-from-kubeconfig.ts';
import { createCertificateAuthority } from '../support/pki.ts';
import { json, refusal, ScriptedApiServer, type Thing, things } from '../support/scripted-api-server.ts';

let server: ScriptedApiServer;
let client: Client;

beforeEach(async () => {
  server = new ScriptedApiServer();
  await server.start();
  client = new Client(server.connection);
});
afterEach(() => server.stop());

const ref = { namespace: 'x', name: 'a' };
const lastRequest = () => server.requests.at(-1)!;

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kubernetes-client-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

describe('client', () => {
  it('applies on the server: apply patch, field manager, force, dry run, subresource', async () => {
    const options = { fieldManager: 'me', force: true, dryRun: true, subresource: 'status' } as const;
    await client.apply(things, { metadata: ref, value: '1' }, options);
    const { method, url, headers, body } = lastRequest();
    expect(method).toBe('PATCH');
    expect(url.pathname).toBe('/apis/example.io/v1/namespaces/x/things/a/status');
    expect(Object.fromEntries(url.searchParams)).toEqual({ fieldManager: 'me', force: 'true', dryRun: 'All' });
    expect(headers['content-type']).toBe('application/apply-patch+yaml');
    expect(JSON.parse(body)).toEqual({ apiVersion: 'example.io/v1', kind: 'Thing', metadata: ref, value: '1' });
  });

  it('escapes what a YAML parser refuses or folds away, and makes lone surrogates well-formed', async () => {
    const value = 'a\u007f\u0085\u0090\u009f\u2028\u2029\ufeff\ufffe\uffffæ💾\ud800z\\ud800';
    await client.apply(things, { metadata: ref, value }, { fieldManager: 'me' });
    const { body } = lastRequest();
    expect(body).toContain('a\\u007f\\u0085\\u0090\\u009f\\u2028\\u2029\\ufeff\\ufffe\\uffffæ💾\ufffdz\\\\ud800');
    expect(JSON.parse(body)).toMatchObject({ value: value.toWellFormed() });
  });

  it('creates in the collection', async () => {
    await client.create(things, { metadata: ref, value: '1' }, { fieldManager: 'me' });
    const { method, url, body } = lastRequest();
    expect([method, url.pathname, url.search]).toEqual([
      'POST',
      '/apis/example.io/v1/namespaces/x/things',
      '?fieldManager=me',
    ]);
    expect(JSON.parse(body)).toMatchObject({ kind: 'Thing', metadata: ref });
  });

  it('deletes the very object it means', async () => {
    await client.delete(things, ref, { uid: 'u-1', propagationPolicy: 'Foreground' });
    const { method, body } = lastRequest();
    expect(method).toBe('DELETE');
    expect(JSON.parse(body)).toMatchObject({ preconditions: { uid: 'u-1' }, propagationPolicy: 'Foreground' });
  });

  it('addresses core and cluster-scoped resources, and servers behind a path', async () => {
    const namespaces = { apiVersion: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false };
    const { server: address, options } = server.connection;
    await new Client({ server: `${address}/k8s/clusters/c-1/`, options }).get(namespaces, { name: 'x' });
    expect(lastRequest().url.pathname).toBe('/k8s/clusters/c-1/api/v1/namespaces/x');
  });

  it('refuses a namespaced object without a namespace before it asks', () => {
    expect(() => client.get(things, { name: 'a' })).toThrow('Thing a needs a namespace');
    expect(server.requests).toHaveLength(0);
  });

  it("passes on the API server's own words, reason, status and causes", async () => {
    const causes = [{ reason: 'FieldValueInvalid', message: 'bad cron', field: 'spec.schedule' }];
    const message = 'Thing "a" is invalid: spec.schedule: bad cron';
    server.next('other', json(422, { kind: 'Status', message, reason: 'Invalid', code: 422, details: { causes } }));
    const error = await failure(client.apply(things, { metadata: ref }, { fieldManager: 'me' }));
    expect(error).toMatchObject({ message, status: 422, reason: 'Invalid', causes });
  });

  it('knows what is not found', async () => {
    server.next('other', refusal(404, 'NotFound', 'things "a" not found'), refusal(403, 'Forbidden', 'may not'));
    expect(isNotFound(await failure(client.get(things, ref)))).toBe(true);
    expect(isNotFound(await failure(client.get(things, ref)))).toBe(false);
  });

  it('describes an answer that is no Status by request and status', async () => {
    server.next('other', (_, response) => response.writeHead(502).end('<html>Bad Gateway</html>'));
    const error = await failure(client.get(things, ref));
    expect(error.message).toBe('GET /apis/example.io/v1/namespaces/x/things/a: 502 Bad Gateway');
    expect(error.status).toBe(502);
  });

  it('says where it could not connect to', async () => {
    const { server: address } = server.connection;
    await server.stop();
    const error = await failure(client.get(things, ref));
    expect(error).toMatchObject({ status: 0, reason: 'Unreachable' });
    expect(error.message).toContain(`cannot reach the Kubernetes API server at ${address}`);
    expect(error.message).toContain('ECONNREFUSED');
  });

  it.each([
    ['before the headers', () => {}],
    [
      'after the headers',
      (_: unknown, response: { writeHead(status: number): { flushHeaders(): void } }) =>
        response.writeHead(200).flushHeaders(),
    ],
  ] as const)('gives up on a server that hangs %s', async (_, answer) => {
    server.next('other', answer);
    const error = await failure(client.get(things, ref, { timeoutMs: 30 }));
    expect(error).toMatchObject({ status: 0, reason: 'Timeout' });
    expect(error.message).toContain('within 0.03 s');
  });

  it('gives up on credentials that never come', async () => {
    const stuck = new Client({ ...server.connection, options: () => new Promise(() => {}) });
    expect(await failure(stuck.get(things, ref, { timeoutMs: 30 }))).toMatchObject({ reason: 'Timeout' });
  });

  it('can be aborted, also before it starts', async () => {
    server.next('other', () => {});
    const controller = new AbortController();
    const pending = failure(client.get(things, ref, { signal: controller.signal }));
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    controller.abort();
    expect(await pending).toMatchObject({ status: 0, reason: 'Aborted' });
    expect(await failure(client.get(things, ref, { signal: controller.signal }))).toMatchObject({ reason: 'Aborted' });
    expect(server.requests).toHaveLength(1);
  });

  it('reuses its connection', async () => {
    const ports = new Set<number | undefined>();
    for (let index = 0; index < 3; index++) {
      server.next('other', (request, response) => {
        ports.add(request.socket.remotePort);
        json(200, {})(request, response);
      });
      await client.get(things, ref);
    }
    expect(ports.size).toBe(1);
  });

  it('ends a watch when its time is over, though events keep coming', async () => {
    const controller = new AbortController();
    const watch = client.watch(things, { resourceVersion: '0', durationMs: 50, idleMs: 5000 }, controller.signal);
    const pulse = setInterval(() => server.bookmark(), 10);
    onTestFinished(() => clearInterval(pulse));
    const types = new Set<string>();
    for await (const { type } of watch) types.add(type);
    expect([...types]).toEqual(['BOOKMARK']);
    expect(lastRequest().url.searchParams.get('timeoutSeconds')).toBe('1');
    expect(lastRequest().url.searchParams.get('allowWatchBookmarks')).toBe('true');
  });

  it('takes the unfinished last line of a watch that ended for an error, not for silence', async () => {
    server.next('watch', (_, response) => response.end('<html>no line end'));
    const watch = client.watch(things, { resourceVersion: '0', durationMs: 5000, idleMs: 5000 });
    expect(await failure(watch.next())).toMatchObject({ status: 0, reason: 'InvalidResponse' });
  });

  it('puts watch events together however the bytes are cut, within characters too', async () => {
    const object = { metadata: { ...ref, resourceVersion: '7' }, value: 'æøå 💾' };
    const bytes = Buffer.from(`${JSON.stringify({ type: 'ADDED', object })}\n`.repeat(2));
    server.next('watch', async (_, response) => {
      response.writeHead(200);
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });
    const received: (Thing | object)[] = [];
    for await (const event of client.watch(things, { resourceVersion: '0', durationMs: 5000, idleMs: 5000 })) {
      received.push(event.object);
    }
    expect(received).toEqual([object, object]);
  });
});

describe('service account connection', () => {
  async function serviceAccount(token: string) {
    const folder = await temporaryFolder();
    const ca = await createCertificateAuthority('test-ca');
    const { certificate, privateKey } = await ca.issueServer('server', ['127.0.0.1']);
    const tokens: (string | undefined)[] = [];
    const tls = createServer({ cert: certificate, key: privateKey }, (request, response) => {
      tokens.push(request.headers.authorization);
      response.end('{}');
    });
    await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      tls.close();
      tls.closeAllConnections();
    });
    await Promise.all([writeFile(join(folder, 'ca.crt'), ca.certificate), writeFile(join(folder, 'token'), token)]);
    const connection = serviceAccountConnection(folder, '127.0.0.1', String((tls.address() as AddressInfo).port));
    return { folder, tokens, connection, client: new Client(connection) };
  }

  it('trusts the CA and sends the token, a rotated one from the next request on', async () => {
    const { folder, tokens, client: inPod } = await serviceAccount('first\n');
    await inPod.get(things, ref);
    await writeFile(join(folder, 'token'), 'second');
    await inPod.get(things, ref);
    expect(tokens).toEqual(['Bearer first', 'Bearer second']);
  });

  it('refuses a server of another CA, and sends it no token', async () => {
    const { folder, tokens, client: inPod } = await serviceAccount('secret-token');
    await writeFile(join(folder, 'ca.crt'), (await createCertificateAuthority('other-ca')).certificate);
    const error = await failure(inPod.get(things, ref));
    expect(error).toMatchObject({ status: 0, reason: 'Unreachable' });
    expect(error.message).toContain('certificate');
    expect(tokens).toEqual([]);
  });

  it('says which file is missing', async () => {
    const { folder, client: inPod } = await serviceAccount('token');
    await rm(join(folder, 'token'));
    const error = await failure(inPod.get(things, ref));
    expect(error.reason).toBe('CredentialsUnavailable');
    expect(error.message).toContain(join(folder, 'token'));
  });

  it('says so outside a Pod', () => {
    expect(() => serviceAccountConnection('/nowhere', undefined, undefined)).toThrow('not set');
  });

  it('brackets an IPv6 address', () => {
    expect(serviceAccountConnection('/nowhere', 'fd00::1', '443').server).toBe('https://[fd00::1]:443');
  });
});

describe('kubeconfig connection', () => {
  const kubeconfig = (address: string, user: object) => ({
    'current-context': 'one',
    clusters: [{ name: 'c', cluster: { server: address, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'one', context: { cluster: 'c', user: 'u', namespace: 'lab' } }],
  });
  async function write(user: object): Promise<string> {
    const file = join(await temporaryFolder(), 'config');
    await writeFile(file, JSON.stringify(kubeconfig(server.connection.server, user)));
    return file;
  }

  it('sends the token of the context and knows its namespace', async () => {
    const connection = connectionFromKubeconfig(await write({ token: 'secret-token' }));
    expect(connection.namespace).toBe('lab');
    await new Client(connection).get(things, ref);
    expect(lastRequest().headers.authorization).toBe('Bearer secret-token');
  });

  it('names the contexts there are when asked for another', async () => {
    const file = await write({ token: 't' });
    expect(() => connectionFromKubeconfig(file, 'two')).toThrow('no cluster for context "two"; it has: one');
  });

  it('lets no credential into an error', async () => {
    const failing = new Client(connectionFromKubeconfig(await write({ token: 'secret-token' })));
    server.next('other', refusal(403, 'Forbidden', 'may not'), (request) => request.socket.destroy());
    for (let index = 0; index < 2; index++) {
      const error = await failure(failing.get(things, ref));
      const { inspect } = await import('node:util');
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('secret-token');
    }
  });
});
