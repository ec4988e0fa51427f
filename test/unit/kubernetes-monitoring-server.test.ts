import { afterEach, expect, it } from 'vitest';
import { startMonitoringServer } from '../../src/kubernetes/monitoring-server.ts';

let server: Awaited<ReturnType<typeof startMonitoringServer>>;
afterEach(() => server.close());

it('answers probes with the reasons, and everything else with what there is', async () => {
  const reasons = { unhealthy: [] as string[], notReady: ['no list of CronJob yet'], remarks: [] as string[] };
  server = await startMonitoringServer(0, {
    metrics: async () => 'up 1',
    unhealthy: () => reasons.unhealthy,
    readiness: () => reasons,
  });
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return [answer.status, (await answer.text()).trim()];
  };
  expect(await get('/healthz')).toEqual([200, 'ok']);
  expect(await get('/readyz?verbose')).toEqual([503, 'no list of CronJob yet']);
  reasons.notReady = [];
  reasons.unhealthy = ['the watch of Job is stalled', 'a reconciliation is stuck'];
  expect(await get('/readyz')).toEqual([200, 'ok']);
  expect(await get('/healthz')).toEqual([503, 'the watch of Job is stalled; a reconciliation is stuck']);
  reasons.remarks = ['no list of Job in namespace b (403)'];
  expect(await get('/readyz')).toEqual([200, 'ok; no list of Job in namespace b (403)']);
  expect(await get('/metrics')).toEqual([200, 'up 1']);
  expect(await get('/')).toEqual([404, 'there is /metrics, /healthz and /readyz']);
});

it('says which port cannot be had', async () => {
  const monitored = { metrics: async () => '', unhealthy: () => [], readiness: () => ({ notReady: [], remarks: [] }) };
  server = await startMonitoringServer(0, monitored);
  await expect(startMonitoringServer(server.port, monitored)).rejects.toThrow(
    `port ${server.port}, for /metrics and the probes, cannot be had: listen EADDRINUSE`,
  );
});
