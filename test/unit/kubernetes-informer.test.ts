import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Client } from '../../src/kubernetes/client.ts';
import { Informer, type InformerOptions } from '../../src/kubernetes/informer.ts';
import { keyOf } from '../../src/kubernetes/types.ts';
import { recordingLog } from '../support/log.ts';
import { type Answer, json, refusal, ScriptedApiServer, type Thing, things } from '../support/scripted-api-server.ts';

let server: ScriptedApiServer;
let stop: AbortController;
let running: Promise<void> | undefined;
let changes: string[];

beforeEach(async () => {
  server = new ScriptedApiServer();
  await server.start();
  stop = new AbortController();
  changes = [];
});

afterEach(async () => {
  stop.abort();
  await running;
  running = undefined;
  await server.stop();
});

const label = (object: Thing | undefined) => object && `${keyOf(object.metadata)}=${object.value}`;

function start(options: Partial<InformerOptions<Thing>> = {}) {
  const { log, lines } = recordingLog();
  const informer = new Informer<Thing>({
    client: new Client(server.connection),
    resource: things,
    log,
    onChange: (old, current) => changes.push(`${label(old) ?? '-'} → ${label(current) ?? '-'}`),
    backoff: { baseMs: 5, maxMs: 40 },
    ...options,
  });
  running = informer.run(stop.signal);
  return { informer, lines, cached: () => informer.list().map(label).sort() };
}

const soon = { timeout: 5000, interval: 5 };
const watching = () => vi.waitFor(() => expect(server.openWatches).toBe(1), soon);

describe('informer', () => {
  it('lists, tells its handler, is synced, and follows the watch', async () => {
    server.put('x/a', '1');
    const { informer, cached } = start();
    expect(changes).toEqual([]);
    await informer.synced;
    expect(changes).toEqual(['- → x/a=1']);
    await watching();
    server.put('x/b', '1');
    server.put('x/a', '2');
    server.remove('x/b');
    await vi.waitFor(() => expect(changes).toHaveLength(4), soon);
    expect(changes.slice(1)).toEqual(['- → x/b=1', 'x/a=1 → x/a=2', 'x/b=1 → -']);
    expect(cached()).toEqual(['x/a=2']);
    expect(informer.get({ namespace: 'x', name: 'a' })?.value).toBe('2');
    expect(server.count('list')).toBe(1);
  });

  it('gives objects of lists and watches the same form: apiVersion, kind, timestamps as text', async () => {
    server.put('x/a', '1');
    const { informer } = start();
    await watching();
    const listed = informer.list()[0];
    server.put('x/b', '1');
    await vi.waitFor(() => expect(informer.list()).toHaveLength(2), soon);
    const watched = informer.get({ namespace: 'x', name: 'b' });
    expect(Object.keys(listed ?? {}).sort()).toEqual(Object.keys(watched ?? {}).sort());
    expect(listed).toMatchObject({ apiVersion: 'example.io/v1', kind: 'Thing' });
    expect(listed?.metadata.creationTimestamp).toBe('2026-11-23T03:17:00Z');
    expect(watched?.metadata.creationTimestamp).toBe('2026-11-23T03:17:00Z');
  });

  it('reads long lists in pages', async () => {
    for (let index = 0; index < 1200; index++) server.put(`x/${index}`, '1');
    const { informer } = start();
    await informer.synced;
    expect(informer.list()).toHaveLength(1200);
    expect(server.count('list')).toBe(3);
  });

  it('asks for its namespace and labels only, in lists and watches', async () => {
    start({ namespace: 'lab 1', labelSelector: 'app=x,tier!=y' });
    await watching();
    for (const { url } of server.requests) {
      expect(url.pathname).toBe('/apis/example.io/v1/namespaces/lab%201/things');
      expect(url.searchParams.get('labelSelector')).toBe('app=x,tier!=y');
    }
    expect(server.count('watch')).toBe(1);
  });

  it('finds objects by namespace and by index, also after they moved in the index', async () => {
    for (const [key, value] of [
      ['x/a', 'red'],
      ['y/a', 'red'],
      ['x/b', 'blue'],
    ] as const) {
      server.put(key, value);
    }
    const { informer } = start({ indexBy: ({ value }) => (value ? [value] : []) });
    await watching();
    const indexed = (value: string) => informer.indexed(value).map(({ metadata }) => keyOf(metadata));
    expect(informer.list('x').map(label)).toEqual(['x/a=red', 'x/b=blue']);
    expect(indexed('red')).toEqual(['x/a', 'y/a']);
    server.put('x/a', 'blue');
    server.remove('y/a');
    await vi.waitFor(() => expect(indexed('red')).toEqual([]), soon);
    expect(indexed('blue').sort()).toEqual(['x/a', 'x/b']);
  });

  it('lives on when its handler throws', async () => {
    server.put('x/a', '1');
    const { lines, cached } = start({
      onChange: () => {
        throw new Error('a defect');
      },
    });
    await watching();
    server.put('x/b', '1');
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1', 'x/b=1']), soon);
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(2);
    expect(server.count('list')).toBe(1);
  });

  it('after a cut goes on from the last bookmark, without a new list', async () => {
    const { cached } = start();
    await watching();
    server.bookmark();
    server.put('x/a', '1');
    server.bookmark();
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1']), soon);
    server.disturbWatches((response) => response.destroy());
    server.put('x/b', '1');
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1', 'x/b=1']), soon);
    expect(server.count('list')).toBe(1);
    const versions = server.requests.map(({ url }) => url.searchParams.get('resourceVersion'));
    expect(versions).toEqual([null, '100', '103']);
    expect(changes).toHaveLength(2);
  });

  it('repairs by a relist what a watch never told', async () => {
    server.put('x/a', '1');
    server.put('x/b', '1');
    const { cached } = start({ relistMs: 100 });
    await watching();
    server.put('x/a', '2', { silently: true });
    server.remove('x/b', { silently: true });
    server.put('x/c', '1', { silently: true });
    const pulse = setInterval(() => server.bookmark(), 10);
    try {
      await vi.waitFor(() => expect(cached()).toEqual(['x/a=2', 'x/c=1']), soon);
    } finally {
      clearInterval(pulse);
    }
    expect(changes).toContain('x/b=1 → -');
    expect(changes).toContain('x/a=1 → x/a=2');
  });

  it('tells its handler of every object at each relist, changed or not', async () => {
    server.put('x/a', '1');
    start({ relistMs: 30, idleMs: 20 });
    await vi.waitFor(
      () => expect(changes.filter((change) => change === 'x/a=1 → x/a=1').length).toBeGreaterThan(1),
      soon,
    );
  });

  it('takes nothing for deleted by a relist that breaks off between its pages', async () => {
    server.put('x/a', '1');
    server.put('x/b', '1');
    const { cached } = start({ relistMs: 50, idleMs: 20 });
    await watching();
    const items = [server.objects.get('x/a')];
    const page = json(200, { metadata: { resourceVersion: '102', continue: '1' }, items });
    for (const broken of [
      refusal(410, 'Expired', 'too old'),
      refusal(500, 'InternalError', 'broken'),
      cutWithinAnswer,
    ]) {
      const lists = server.count('list');
      server.next('list', page, broken);
      await vi.waitFor(() => expect(server.count('list')).toBeGreaterThan(lists + 3), soon);
    }
    expect(cached()).toEqual(['x/a=1', 'x/b=1']);
    expect(changes.filter((change) => change.endsWith('→ -'))).toEqual([]);
  });

  it('keeps an object that a relist finds unchanged', async () => {
    server.put('x/a', '1');
    server.put('x/b', '1');
    const { informer } = start({ relistMs: 30, idleMs: 20 });
    await informer.synced;
    const before = informer.list();
    await vi.waitFor(() => expect(server.count('list')).toBeGreaterThan(2), soon);
    for (const [index, object] of informer.list().entries()) expect(object).toBe(before[index]);
  });

  it('takes a silent watch for dead', async () => {
    server.next('watch', (_, response) => response.writeHead(200).flushHeaders());
    const { cached } = start({ idleMs: 30 });
    await vi.waitFor(() => expect(server.count('watch')).toBeGreaterThan(1), soon);
    server.put('x/a', '1');
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1']), soon);
    expect(server.count('list')).toBe(1);
  });

  it('waits as long as the API server asks for when it is overloaded', async () => {
    server.next('list', refusal(429, 'TooManyRequests', 'slow down', { 'retry-after': '1' }));
    const begin = Date.now();
    const { informer } = start();
    await informer.synced;
    expect(Date.now() - begin).toBeGreaterThanOrEqual(990);
  });

  it('doubles its waits while failures last', async () => {
    server.next('list', ...Array.from({ length: 6 }, () => refusal(500, 'InternalError', 'broken')));
    const { informer, lines } = start();
    await informer.synced;
    const waits = lines.flatMap(({ details }) => ('waitMs' in details ? [details.waitMs as number] : []));
    expect(waits).toHaveLength(6);
    for (const [index, most] of [5, 10, 20, 40, 40, 40].entries()) {
      expect(waits[index]).toBeLessThanOrEqual(most);
      expect(waits[index]).toBeGreaterThanOrEqual(Math.floor(most / 2));
    }
  });

  it('lists again at once when its version has expired', async () => {
    const { lines, cached } = start({ backoff: { baseMs: 600_000, maxMs: 600_000 } });
    await watching();
    server.put('x/a', '1', { silently: true });
    server.disturbWatches((response) => response.end(`${JSON.stringify({ type: 'ERROR', object: { code: 410 } })}\n`));
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1']), soon);
    expect(lines[0]?.details).toMatchObject({ status: 410, waitMs: 0 });
  });

  it('backs off when its versions keep expiring', async () => {
    const expired = refusal(410, 'Expired', 'too old');
    server.next('list', expired, expired, expired);
    const { informer, lines } = start();
    await informer.synced;
    const waits = lines.flatMap(({ details }) => ('waitMs' in details ? [details.waitMs] : []));
    expect(waits).toEqual([0, expect.toSatisfy((ms) => ms >= 5), expect.toSatisfy((ms) => ms >= 10)]);
  });

  it('does not wait longer and longer where something cuts quiet watches that had lived for a while', async () => {
    const { informer, lines } = start({ wellMs: 50 });
    const waits = () => lines.flatMap(({ details }) => ('waitMs' in details ? [details.waitMs as number] : []));
    for (let cut = 1; cut <= 4; cut++) {
      await watching();
      const opened = Date.now();
      await vi.waitFor(() => expect(Date.now() - opened).toBeGreaterThan(60), soon);
      server.disturbWatches((response) => response.destroy());
      await vi.waitFor(() => expect(waits()).toHaveLength(cut), soon);
      expect(informer.failures).toBe(1);
    }
    for (const wait of waits()) expect(wait).toBeLessThanOrEqual(5);
    expect(lines.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  it('counts its failures in a row, and none once a watch says something', async () => {
    server.next('list', ...Array.from({ length: 3 }, () => refusal(403, 'Forbidden', 'no')));
    const { informer } = start({ onRestart: () => seen.push(informer.failures) });
    const seen: number[] = [];
    await watching();
    expect(seen).toEqual([0, 1, 2]);
    server.put('x/a', '1');
    await vi.waitFor(() => expect(changes).toEqual(['- → x/a=1']), soon);
    expect(informer.failures).toBe(0);
  });

  it('takes no failure for a success: how long a kind could not be read goes on while its lists fail', async () => {
    const { informer } = start({ relistMs: 50 });
    await watching();
    server.bookmark();
    await vi.waitFor(() => expect(informer.failedWith).toBeUndefined(), soon);
    server.next('list', ...Array.from({ length: 100 }, () => refusal(500, 'InternalError', 'broken')));
    const pulse = setInterval(() => server.bookmark(), 10);
    try {
      await vi.waitFor(() => expect(informer.failures).toBeGreaterThan(5), soon);
    } finally {
      clearInterval(pulse);
    }
    expect(informer.failedWith).toBe(500);
    // Each failure is a sign of life, and none is a success.
    await vi.waitFor(() => expect(informer.sinceSuccessMs).toBeGreaterThan(300), soon);
    expect(informer.silentMs).toBeLessThan(informer.sinceSuccessMs);
  });

  const unknownKind: Answer = (_, response) => response.writeHead(404).end('404 page not found\n');

  it('forgets its objects when the API server does not know the kind any more, and finds those there are when it does', async () => {
    server.put('x/a', '1');
    const { informer, cached } = start();
    await watching();
    server.next('list', unknownKind);
    server.next('watch', unknownKind);
    server.disturbWatches((response) => response.destroy());
    await vi.waitFor(() => expect(changes).toContain('x/a=1 → -'), soon);
    await vi.waitFor(() => expect(cached()).toEqual(['x/a=1']), soon);
    expect(changes).toEqual(['- → x/a=1', 'x/a=1 → -', '- → x/a=1']);
    expect(informer.hasSynced).toBe(true);
  });

  it('says once that the kind is missing and once that it is there, and has no list of it meanwhile', async () => {
    const seen: boolean[] = [];
    const { informer, lines } = start({ onRestart: () => seen.push(informer.hasSynced) });
    await watching();
    server.next('list', ...Array.from({ length: 8 }, () => unknownKind));
    server.next('watch', unknownKind);
    server.disturbWatches((response) => response.destroy());
    await vi.waitFor(() => expect(server.count('list')).toBe(10), soon);
    await vi.waitFor(() => expect(informer.hasSynced).toBe(true), soon);
    expect(seen.slice(-8)).toEqual(Array(8).fill(false));
    expect(lines.filter(({ level }) => level !== 'debug').map(({ level, message }) => `${level}: ${message}`)).toEqual([
      expect.stringMatching(/^warn: .*does not know this kind: is its CustomResourceDefinition installed/),
      'info: the API server knows this kind now',
    ]);
  });

  it('looks for a missing kind every five seconds at the latest', async () => {
    server.next('list', unknownKind);
    const { lines } = start({ backoff: { baseMs: 600_000, maxMs: 600_000 } });
    await vi.waitFor(() => expect(lines).toHaveLength(2), soon);
    expect(lines[1]?.details).toMatchObject({ waitMs: expect.toSatisfy((ms) => ms >= 2_500 && ms <= 5_000) });
  });

  it('stops when told, in the middle of a list, a watch or a wait, and leaves no connection', async () => {
    const hang: Answer = () => {};
    server.next('list', hang);
    start();
    await vi.waitFor(() => expect(server.count('list')).toBe(1), soon);
    stop.abort();
    await running;

    stop = new AbortController();
    start();
    await watching();
    stop.abort();
    await running;
    await vi.waitFor(() => expect(server.openWatches).toBe(0), soon);

    stop = new AbortController();
    server.next('list', refusal(500, 'InternalError', 'broken'));
    const { lines } = start({ backoff: { baseMs: 600_000, maxMs: 600_000 } });
    await vi.waitFor(() => expect(lines).toHaveLength(1), soon);
    stop.abort();
    await running;
  });
});

const html: Answer = (_, response) => {
  response.writeHead(200, { 'content-type': 'text/html' });
  response.end('<html>the proxy says hello</html>\n');
};
const cutBeforeAnswer: Answer = (request) => request.socket.destroy();
const cutWithinAnswer: Answer = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.write('{"type":"ADDED","object":{"metadata":{"na', () => response.destroy());
};
const line = (value: unknown): Answer => json(200, value);

/** How a request can go wrong; for lists and for watches alike. */
const failures: [string, Answer][] = [
  ['410 Gone', refusal(410, 'Expired', 'too old')],
  ['401 Unauthorized', refusal(401, 'Unauthorized', 'Unauthorized')],
  ['403 Forbidden', refusal(403, 'Forbidden', 'may not')],
  ['404, the CRD is not there', (_, response) => response.writeHead(404).end('404 page not found\n')],
  ['429 without Retry-After', refusal(429, 'TooManyRequests', 'slow down')],
  ['500', refusal(500, 'InternalError', 'etcdserver: leader changed')],
  ['502 from a proxy', (_, response) => response.writeHead(502).end('<html>Bad Gateway</html>')],
  ['a redirect', (_, response) => response.writeHead(302, { location: '/login' }).end()],
  ['a page that is not JSON', html],
  ['an empty answer', (_, response) => response.end()],
  ['null', line(null)],
  ['JSON of another kind', line({ kind: 'Status', status: 'Success' })],
  ['a connection cut before the answer', cutBeforeAnswer],
  ['a connection cut within the answer', cutWithinAnswer],
  ['an ERROR event with 410', line({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })],
  ['an ERROR event with 500', line({ type: 'ERROR', object: { kind: 'Status', code: 500, message: 'oops' } })],
  ['an ERROR event without a Status', line({ type: 'ERROR' })],
  ['an event of an unknown type', line({ type: 'SYNC', object: { metadata: { resourceVersion: '1' } } })],
  ['an event without a resourceVersion', line({ type: 'ADDED', object: { metadata: { name: 'z', namespace: 'z' } } })],
];

/** What can happen to a watch that is open. */
const disturbances: [string, (response: Parameters<Answer>[1]) => void][] = [
  ['is cut', (response) => response.destroy()],
  ['ends', (response) => response.end()],
  ['sends half a line and is cut', (response) => response.write('{"type":"ADD', () => response.destroy())],
  ['sends garbage', (response) => response.write('\u0000garbage\n')],
  ['sends an ERROR event', (response) => response.write('{"type":"ERROR","object":{"code":500,"message":"oops"}}\n')],
  ['sends a 410', (response) => response.write('{"type":"ERROR","object":{"code":410,"reason":"Expired"}}\n')],
];

/** Changes that are made while the informer cannot see them, and more when it is back. */
async function missesNothing(cached: () => (string | undefined)[]) {
  server.put('x/changed', '2');
  server.remove('x/deleted');
  server.put('x/new', '1');
  await vi.waitFor(() => expect(cached()).toEqual(['x/changed=2', 'x/kept=1', 'x/new=1']), soon);
  expect(changes).toContain('x/changed=1 → x/changed=2');
  expect(changes).toContain('x/deleted=1 → -');
  expect(changes).toContain('- → x/new=1');
  await watching();
  server.put('x/later', '1');
  await vi.waitFor(() => expect(changes).toContain('- → x/later=1'), soon);
}

describe('informer misses nothing when', () => {
  beforeEach(() => {
    for (const name of ['kept', 'changed', 'deleted']) server.put(`x/${name}`, '1');
  });

  it.each(failures)('its first lists answer with %s', async (_, answer) => {
    server.next('list', answer, answer, answer);
    const { informer, cached } = start();
    await vi.waitFor(() => expect(server.count('list')).toBeGreaterThan(1), soon);
    await informer.synced;
    await watching();
    await missesNothing(cached);
  });

  it.each(failures)('its watch is reopened with %s', async (_, answer) => {
    const { cached } = start();
    await watching();
    server.next('watch', answer, answer, answer);
    server.disturbWatches((response) => response.destroy());
    await missesNothing(cached);
  });

  // With a kind that is missing go its objects, which is another story.
  it.each(failures.filter(([name]) => !name.startsWith('404')))(
    'its watch is cut, the past is forgotten, and lists answer with %s',
    async (_, answer) => {
      const { cached } = start();
      await watching();
      server.next('list', answer, answer);
      server.disturbWatches((response) => response.destroy());
      server.put('x/kept', '1');
      server.compact();
      await missesNothing(cached);
    },
  );

  it.each(disturbances)('its open watch %s', async (_, disturb) => {
    const { cached } = start();
    await watching();
    server.disturbWatches(disturb);
    await missesNothing(cached);
  });

  it('its API server is away for a while', async () => {
    const { cached, lines } = start();
    await watching();
    await server.stop();
    await vi.waitFor(() => expect(lines.length).toBeGreaterThan(3), soon);
    server.put('x/kept', '1');
    server.compact();
    await server.start();
    await missesNothing(cached);
  });

  it('lists and watches fail at random for a long time', async () => {
    const { cached } = start({ backoff: { baseMs: 1, maxMs: 5 }, idleMs: 50 });
    const expected = new Map<string, string>();
    for (let round = 0; round < 150; round++) {
      const key = `x/${(round * 7) % 20}`;
      if (server.objects.has(key)) server.remove(key);
      else server.put(key, String(round));
      server.next('list', failures[round % failures.length]![1]);
      server.next('watch', failures[(round * 5) % failures.length]![1]);
      server.disturbWatches(disturbances[round % disturbances.length]![1]);
      if (round % 10 === 0) server.compact();
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const [key, { value }] of server.objects) expected.set(key, `${key}=${value}`);
    await vi.waitFor(() => expect(cached()).toEqual([...expected.values()].sort()), { timeout: 15_000, interval: 20 });
  }, 20_000);
});
