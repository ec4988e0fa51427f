import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Client } from '../../src/kubernetes/client.ts';
import { Informer } from '../../src/kubernetes/informer.ts';
import { keyOf } from '../../src/kubernetes/types.ts';
import { recordingLog } from '../support/log.ts';
import { json, ScriptedApiServer, type Thing, things } from '../support/scripted-api-server.ts';

const soon = { timeout: 5000, interval: 5 };
let server: ScriptedApiServer;
let stop: AbortController;
let running: Promise<void> | undefined;
let pulse: NodeJS.Timeout;

beforeEach(async () => {
  server = new ScriptedApiServer();
  // 9,900 is about what an API server takes; a proxy, or one of another kind, may let more pass.
  server.substitutes.set('9,900 deep', `${'{"a":'.repeat(9_900)}1${'}'.repeat(9_900)}`);
  server.substitutes.set('100,000 deep', '['.repeat(100_000) + ']'.repeat(100_000));
  await server.start();
  stop = new AbortController();
});
afterEach(async () => {
  clearInterval(pulse);
  stop.abort();
  await running;
  await server.stop();
});

function start() {
  const { log, lines } = recordingLog();
  const informer = new Informer<Thing>({
    client: new Client(server.connection),
    resource: things,
    log,
    onChange: () => {},
    backoff: { baseMs: 5, maxMs: 40 },
    relistMs: 100,
  });
  running = informer.run(stop.signal);
  // A watch ends at what it is told after its time.
  pulse = setInterval(() => server.bookmark(), 10);
  const values = () => informer.list().map(({ metadata, value }) => `${keyOf(metadata)}=${value}`);
  const told = () => lines.filter(({ level, message }) => level === 'warn' && message.includes('not kept'));
  return { informer, lines, values, told };
}

const managedFields = (fieldsV1: unknown) => [{ manager: 'somebody', operation: 'Apply', fieldsV1 }];

describe('an object that is too deep or too large costs only itself', () => {
  it.each<[string, object, string]>([
    ['a spec of 9,900 levels', { spec: { affinity: '9,900 deep' } }, 'spec'],
    ['a status of 100,000 levels', { status: '100,000 deep' }, 'status'],
    ['deep managedFields', { metadata: { managedFields: managedFields('9,900 deep') } }, 'metadata.managedFields'],
    ['deep labels', { metadata: { labels: '100,000 deep' } }, 'metadata.labels'],
    ['a spec of 3 MB', { spec: { text: 'x'.repeat(3_000_000) } }, 'spec'],
    ['a spec of many empty objects', { spec: Array.from({ length: 100_000 }, () => ({})) }, 'spec'],
    ['a deep field called __proto__', JSON.parse('{"__proto__":"9,900 deep"}'), '__proto__'],
  ])('%s', async (_, more, part) => {
    server.put('x/a', '1');
    server.put('x/bad', '1', { more });
    server.put('y/c', '1');
    const { informer, values, told, lines } = start();
    await informer.synced;
    expect(values()).toEqual(['x/a=1', 'x/bad=1', 'y/c=1']);
    expect(Object.keys(informer.get({ namespace: 'x', name: 'bad' })!.omitted!)).toEqual([part]);
    expect(informer.get({ namespace: 'x', name: 'a' })).not.toHaveProperty('omitted');
    expect(told().map(({ details }) => details)).toMatchObject([{ kind: 'Thing', namespace: 'x', name: 'bad' }]);

    // Changes of others are seen, by the watch and by relists, and so is its own repair.
    server.put('y/c', '2');
    await vi.waitFor(() => expect(values()).toContain('y/c=2'), soon);
    server.put('y/c', '3', { silently: true });
    await vi.waitFor(() => expect(values()).toContain('y/c=3'), soon);
    server.put('x/bad', '2', { more });
    await vi.waitFor(() => expect(values()).toContain('x/bad=2'), soon);
    server.put('x/bad', '3');
    await vi.waitFor(() => expect(informer.get({ namespace: 'x', name: 'bad' })).not.toHaveProperty('omitted'), soon);
    expect(informer.failures).toBe(0);
    expect(lines.filter(({ message }) => /failed/.test(message))).toEqual([]);
    // Not once more at each relist.
    expect(told().length).toBeLessThanOrEqual(2);
  });

  it('in the answer to a get or a write too', async () => {
    const client = new Client(server.connection);
    const metadata = { namespace: 'x', name: 'a', resourceVersion: '1' };
    const text = `{"metadata":${JSON.stringify(metadata)},"spec":${server.substitutes.get('9,900 deep')}}`;
    const answer = (_: unknown, response: { end(text: string): void }) => response.end(text);
    server.next('other', answer, answer);
    const got = await client.get(things, metadata);
    expect(got).toMatchObject({ metadata, omitted: { spec: 'is nested more than 64 deep' } });
    const applied = await client.apply(things, { metadata }, { fieldManager: 'x' });
    expect(applied).toMatchObject({ metadata, omitted: { spec: 'is nested more than 64 deep' } });
  });

  it('an item that has no name, or no metadata at all, is passed over and told', async () => {
    server.put('x/a', '1');
    server.put('x/b', '1', { more: { metadata: { name: '' } } });
    server.put('x/c', '1', { more: { metadata: { name: null } } });
    server.next('list', json(200, { metadata: { resourceVersion: '103' }, items: [...server.objects.values(), {}] }));
    const { informer, values, lines } = start();
    await informer.synced;
    expect(values()).toEqual(['x/a=1']);
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(3);
  });
});

it('of what nobody looks at nothing is kept, where the client is told what is looked at', async () => {
  const client = new Client(server.connection, {
    kept: { manager: (name) => name === 'mine', annotation: (key) => key.startsWith('example.io/') },
  });
  const mine = { manager: 'mine', operation: 'Apply', fieldsV1: { 'f:value': {} } };
  const metadata = {
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(1000), 'example.io/run': 'now' },
    managedFields: [mine, ...managedFields({ 'f:spec': {} }), { ...mine, operation: 'Update' }],
  };
  server.put('x/a', '1', { more: { metadata } });
  const { items } = await client.list(things);
  expect(items[0]!.metadata).toMatchObject({ name: 'a', annotations: { 'example.io/run': 'now' } });
  expect(Object.keys(items[0]!.metadata.annotations!)).toEqual(['example.io/run']);
  expect(items[0]!.metadata.managedFields).toEqual([mine]);
});

describe('a list is read item by item', () => {
  /** Sends a list's text in pieces of this many bytes. */
  async function listed(text: string, pieceBytes: number) {
    const bytes = Buffer.from(text);
    server.next('list', (_, response) => {
      for (let at = 0; at < bytes.length; at += pieceBytes) response.write(bytes.subarray(at, at + pieceBytes));
      response.end();
    });
    return new Client(server.connection).list(things);
  }
  const item = (name: string, value: string) => ({ metadata: { name, labels: {}, finalizers: [] }, value });

  it.each([1, 7, 100_000])('whatever its strings hold and wherever it is cut, in pieces of %i bytes', async (bytes) => {
    const values = ['', '"', '\\', '\\"}]', '{"items":[{', 'ä€😀\u2028', ']}', '\\\\"'];
    const items = values.map((value, index) => item(`n${index}`, value));
    const list = { kind: 'ThingList', metadata: { resourceVersion: '7', remark: '"items":[{]' }, items };
    for (const text of [JSON.stringify(list), JSON.stringify(list, undefined, 2)]) {
      const found = await listed(text, bytes);
      expect(found.resourceVersion).toBe('7');
      expect(found.items).toEqual(items.map((each) => ({ ...each, apiVersion: 'example.io/v1', kind: 'Thing' })));
    }
    expect((await listed('{"items":null,"metadata":{"resourceVersion":"8"}}', bytes)).items).toEqual([]);
  });

  it.each([
    ['no list', '{"metadata":{"resourceVersion":"8"}}', 'not a list'],
    ['cut off between two items', '{"metadata":{"resourceVersion":"8"},"items":[{"metadata":{}},', 'not JSON'],
    ['cut off within an item', '{"metadata":{"resourceVersion":"8"},"items":[{"metadata":{', 'not JSON'],
    ['no JSON within an item', '{"metadata":{"resourceVersion":"8"},"items":[{"metadata":oops}]}', 'not JSON'],
  ])('%s is an error', async (_, text, words) => {
    await expect(listed(text, 1000)).rejects.toThrow(words);
  });
});
