import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Client } from '../../src/kubernetes/client.ts';
import { EventRecorder, type KubernetesEvent } from '../../src/kubernetes/events.ts';
import { recordingLog } from '../support/log.ts';
import { json, refusal, ScriptedApiServer } from '../support/scripted-api-server.ts';

let server: ScriptedApiServer;
let now: Date;
beforeEach(async () => {
  server = new ScriptedApiServer();
  await server.start();
  now = new Date('2026-11-23T03:17:00.123Z');
});
afterEach(() => server.stop());

const policy = {
  apiVersion: 'example.io/v1',
  kind: 'Thing',
  metadata: { namespace: 'x', name: 'a', uid: 'u-1' },
};

function recorder() {
  const { log, lines } = recordingLog();
  const client = new Client(server.connection);
  return { lines, events: new EventRecorder({ client, log, component: 'tester', instance: 'pod-1', now: () => now }) };
}
const written = () => server.requests.map(({ body }) => JSON.parse(body) as KubernetesEvent);

describe('event recorder', () => {
  it('writes an Event that names object, source and time', async () => {
    const { events } = recorder();
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    await events.flush();
    expect(written()).toEqual([
      {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { namespace: 'x', name: expect.stringMatching(/^a\.[0-9a-f]{16}$/) },
        involvedObject: { apiVersion: 'example.io/v1', kind: 'Thing', namespace: 'x', name: 'a', uid: 'u-1' },
        type: 'Warning',
        reason: 'Broken',
        message: 'It broke.',
        count: 1,
        firstTimestamp: '2026-11-23T03:17:00Z',
        lastTimestamp: '2026-11-23T03:17:00Z',
        source: { component: 'tester' },
        reportingComponent: 'tester',
        reportingInstance: 'pod-1',
      },
    ]);
    expect(server.requests[0]?.url.pathname).toContain('/api/v1/namespaces/x/events/a.');
  });

  it('raises the count and the last time of the same Event', async () => {
    const { events } = recorder();
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    await events.flush();
    now = new Date('2026-11-23T04:00:00Z');
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    await events.flush();
    const [first, second] = written();
    expect(second?.metadata.name).toBe(first?.metadata.name);
    expect(second).toMatchObject({
      count: 2,
      firstTimestamp: '2026-11-23T03:17:00Z',
      lastTimestamp: '2026-11-23T04:00:00Z',
    });
  });

  it('keeps different objects, types, reasons and messages apart', async () => {
    const { events } = recorder();
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    events.record(policy, 'Normal', 'Broken', 'It broke.');
    events.record(policy, 'Warning', 'Other', 'It broke.');
    events.record(policy, 'Warning', 'Broken', 'Differently.');
    events.record({ ...policy, metadata: { ...policy.metadata, uid: 'u-2' } }, 'Warning', 'Broken', 'It broke.');
    await events.flush();
    expect(new Set(written().map(({ metadata }) => metadata.name)).size).toBe(5);
    expect(written().every(({ count }) => count === 1)).toBe(true);
  });

  it('writes once for all that happened while it was writing', async () => {
    const { events } = recorder();
    let release = () => {};
    server.next('other', (request, response) => {
      release = () => json(200, {})(request, response);
    });
    for (let index = 0; index < 50; index++) events.record(policy, 'Warning', 'Broken', 'It broke.');
    await vi.waitFor(() => expect(server.requests).toHaveLength(1));
    release();
    await events.flush();
    expect(written().map(({ count }) => count)).toEqual([1, 50]);
  });

  it('logs what it could not write, throws nothing and goes on', async () => {
    const { events, lines } = recorder();
    server.next('other', refusal(403, 'Forbidden', 'may not'), (request) => request.socket.destroy());
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    events.record(policy, 'Normal', 'Fine', 'It works.');
    await events.flush();
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'warn']);
    events.record(policy, 'Warning', 'Broken', 'It broke.');
    await events.flush();
    expect(written().at(-1)?.count).toBe(2);
  });

  it('forgets the least recently used Events, and no others', async () => {
    const { events } = recorder();
    const message = (index: number) => `message ${index}`;
    for (let index = 0; index < 1024; index++) events.record(policy, 'Normal', 'Much', message(index));
    events.record(policy, 'Normal', 'Much', message(0));
    events.record(policy, 'Normal', 'Much', 'one more');
    await events.flush();
    const before = server.requests.length;
    events.record(policy, 'Normal', 'Much', message(0));
    events.record(policy, 'Normal', 'Much', message(1));
    await events.flush();
    expect(
      written()
        .slice(before)
        .map(({ message, count }) => [message, count]),
    ).toEqual([
      ['message 0', 3],
      ['message 1', 1],
    ]);
  });

  it('cuts long messages and names to what the API server takes', async () => {
    const { events } = recorder();
    const long = { ...policy, metadata: { ...policy.metadata, name: 'n'.repeat(253) } };
    events.record(long, 'Normal', 'Long', 'm'.repeat(5000));
    await events.flush();
    expect(written()[0]?.message).toHaveLength(1024);
    expect(written()[0]?.metadata.name).toHaveLength(253);
  });
});
