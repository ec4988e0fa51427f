import { setTimeout as sleep } from 'node:timers/promises';
import type { World } from './world.ts';

/** Something that goes wrong, from beginning to end; what users change meanwhile is part of it. */
export interface Fault {
  name: string;
  happen(world: World): Promise<void>;
}

const hour = 3_600_000;
/** Lets the clock of a Node process be wrong. */
const skewed = (ms: number) =>
  `--import=data:text/javascript,${encodeURIComponent(
    `const D = Date; globalThis.Date = class extends D { constructor(...a) { if (a.length) super(...a); else super(D.now() + ${ms}); } static now() { return D.now() + ${ms}; } };`,
  )}`;

export const faults: readonly Fault[] = [
  {
    name: 'API server stopped and started',
    async happen({ plane, change }) {
      await change();
      await plane.stopApiServer();
      await sleep(3_000);
      await plane.startApiServer();
      await change();
    },
  },
  {
    name: 'etcd stopped and started',
    async happen({ plane, change }) {
      await change();
      await plane.stopEtcd();
      await sleep(5_000);
      await plane.startEtcd();
      await change();
    },
  },
  {
    name: 'every connection cut, ten times',
    async happen({ proxy, change }) {
      for (let i = 0; i < 10; i++) {
        await change();
        proxy.cut();
        await sleep(300);
      }
    },
  },
  {
    name: '410 Gone: changes unseen, etcd compacted, API server restarted',
    async happen({ plane, proxy, change }) {
      proxy.fault = 'refuse';
      proxy.cut();
      await change();
      await plane.compactEtcd();
      await plane.stopApiServer();
      await plane.startApiServer();
      await change();
      proxy.fault = undefined;
    },
  },
  ...([429, 500] as const).map((status) => ({
    name: `${status} to every request for ten seconds`,
    async happen({ proxy, change }: World) {
      proxy.fault = { status };
      proxy.cut();
      await change();
      await sleep(10_000);
      proxy.fault = undefined;
    },
  })),
  {
    name: 'every answer a second late, for fifteen seconds',
    async happen({ proxy, change }) {
      proxy.fault = { delayMs: 1_000 };
      await change();
      await sleep(15_000);
      proxy.fault = undefined;
    },
  },
  {
    name: 'two replicas with clocks an hour fast and an hour slow, the leader killed in turns',
    async happen(world) {
      await world.stopControllers();
      const clocks = [hour, -hour, hour, -hour];
      let leader = await world.startController([skewed(clocks[0]!)]);
      for (const clock of clocks.slice(1)) {
        const next = await world.startController([skewed(clock)]);
        await world.change();
        await sleep(2_000);
        await world.kill(leader);
        await world.change();
        await world.leads(next);
        leader = next;
      }
    },
  },
  {
    name: 'controller killed at random moments, fifty times',
    async happen(world) {
      await world.stopControllers();
      for (let i = 0; i < 50; i++) {
        const controller = await world.startController([], { alone: true });
        const changing = world.change();
        await sleep(Math.random() * 1_500);
        await world.kill(controller);
        await changing;
      }
      await world.startController();
    },
  },
  {
    name: 'CRD removed and put back',
    async happen(world) {
      await world.removeCrd();
      await sleep(3_000);
      await world.putCrdBack();
    },
  },
];
