import { existsSync, readFileSync } from 'node:fs';
import type { ApiException } from '@kubernetes/client-node';
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { group, plural, version } from '../../src/api/policy.ts';
import { specSchema } from '../../src/api/rules.ts';
import { installCrd } from '../support/controller.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { policyManifest } from '../support/policies.ts';

// A schedule and a time zone that Kubernetes refuses in a CronJob are refused in a policy when it is applied, as far as its
// rules can see it; what Kubernetes takes is never refused.

const cluster = useCluster();
let namespace: string;

beforeAll(async () => {
  await installCrd(cluster);
  namespace = await cluster.createNamespace();
});

interface When {
  schedule: string;
  timeZone?: string;
}
interface Verdict extends When {
  /** What Kubernetes says of a CronJob, the API server of a policy, and the program of the same; '' for yes. */
  kubernetes: string;
  policy: string;
  program: string;
}

/** What an API server answers to the request of a dry run: '' where it would do it. */
async function answer(request: Promise<unknown>): Promise<string> {
  try {
    await request;
    return '';
  } catch (error) {
    const { code, body } = error as ApiException<string | { message: string }>;
    if (code !== 422) throw error;
    return typeof body === 'string' ? (JSON.parse(body) as { message: string }).message : body.message;
  }
}

async function verdictOf({ schedule, timeZone = 'Etc/UTC' }: When): Promise<Verdict> {
  const containers = [{ name: 'c', image: 'i' }];
  const jobTemplate = { spec: { template: { spec: { restartPolicy: 'Never', containers } } } };
  const policy = policyManifest(namespace, 'p', { schedule, timeZone });
  const dryRun = 'All';
  return {
    schedule,
    timeZone,
    kubernetes: await answer(
      cluster.batch.createNamespacedCronJob({
        namespace,
        body: { metadata: { name: 'c' }, spec: { schedule, timeZone, jobTemplate } },
        dryRun,
      }),
    ),
    policy: await answer(
      cluster.customObjects.createNamespacedCustomObject({ group, version, namespace, plural, body: policy, dryRun }),
    ),
    program: specSchema.safeParse(policy.spec).error?.issues[0]?.message ?? '',
  };
}

/** The verdicts over all of these, eight at a time. */
async function verdicts(all: readonly When[]): Promise<Verdict[]> {
  const found: Verdict[] = [];
  for (let index = 0; index < all.length; index += 8) {
    found.push(...(await Promise.all(all.slice(index, index + 8).map(verdictOf))));
  }
  return found;
}

const yes = (text: string) => text === '';
const refusedAlone = (all: readonly Verdict[]) => all.filter((each) => yes(each.kubernetes) && !yes(each.policy));
const takenAlone = (all: readonly Verdict[]) => all.filter((each) => !yes(each.kubernetes) && yes(each.policy));
const disagreed = (all: readonly Verdict[]) => all.filter((each) => yes(each.policy) !== yes(each.program));

const parts =
  '* ? 0 1 5 6 7 8 07 000 +3 ++3 12 13 23 24 31 32 59 60 99 jan DEC Mon sat foo jan-mar MON-FRI fri-mon 1-5 5-3 1-2-3 1- -1 *-3 *- ?-x */5 */0 */+2 */-2 5/90 5/007 1-9/2 1/2/3 */ / 1,2 1,,2 ,1 1, , ,, 5* *5 1;2 L W# 0x5 1.5 １ 9223372036854775807 */9223372036854775807 */99999999999999999999 mon#2'.split(
    ' ',
  );
const spaces = [' ', '  ', '\t', '\n', '\u00a0', '\u2003', '\v', '\ufeff', '\u0085'];
/** Schedules with every part in every field, and random ones of several parts and all kinds of space. */
function schedules(): string[] {
  const inField = parts.flatMap((part) =>
    [0, 1, 2, 3, 4].map((at) => ['*', '*', '*', '*', '*'].with(at, part).join(' ')),
  );
  const random = fc
    .array(fc.tuple(fc.oneof(fc.constant('*'), fc.constantFrom(...parts)), fc.constantFrom(' ', ...spaces)), {
      minLength: 4,
      maxLength: 6,
    })
    .map((fields) => fields.map(([part, space]) => part + space).join(''));
  const words =
    'daily @daily @hourly @midnight @weekly @monthly @yearly @annually @Daily @reboot @ @every x * **** 17&3&*&*&*'.split(
      ' ',
    );
  const others = [
    ' @daily',
    '@daily ',
    '@every 1h',
    'TZ=UTC 0 3 * * *',
    '0 0 3 * * *',
    '* * * *',
    '0 3 * * * x',
    '   ',
  ];
  return [...new Set([...inField, ...fc.sample(random, { numRuns: 300, seed: 35 }), ...words, ...others])].filter(
    ({ length }) => length <= 100,
  );
}

test('of a schedule: what is refused is what Kubernetes refuses, but for ranges from a later to an earlier value', async () => {
  const all = await verdicts(schedules().map((schedule) => ({ schedule })));
  expect(all.filter(({ kubernetes }) => yes(kubernetes)).length).toBeGreaterThan(100);
  // A field of commas alone: it never fires.
  const never = /(^|\s),+(\s|$)/;
  expect(refusedAlone(all).filter(({ schedule }) => !/@every|TZ/.test(schedule) && !never.test(schedule))).toEqual([]);
  expect(takenAlone(all).filter(({ kubernetes }) => !/beginning of range|out of range/.test(kubernetes))).toEqual([]);
  expect(disagreed(all)).toEqual([]);
});

test.each(['daily', '99 3 * * *', '0 3 * *', '0 0 3 * * *', '* * * * 7', '*/0 * * * *', '0 3 * * monday'])(
  'the schedule "%s" is refused in words, wherever it stands',
  async (schedule) => {
    const words = /must be a cron expression of five fields, such as "17 3 \* \* \*": minute \(0-59\)/;
    expect((await verdictOf({ schedule })).policy).toMatch(words);
    for (const spec of [{ jobs: [{ name: 'a', schedule }] }, { statistics: { schedule } }]) {
      const body = policyManifest(namespace, 'p', spec);
      const request = { group, version, namespace, plural, body, dryRun: 'All' };
      expect(await answer(cluster.customObjects.createNamespacedCustomObject(request))).toMatch(words);
    }
  },
);

/** The names of this machine's time zone database, those of earlier versions (links) too. */
function zones(): string[] {
  const database = '/usr/share/zoneinfo/tzdata.zi';
  const lines = existsSync(database) ? readFileSync(database, 'utf8').split('\n') : [];
  const listed = lines.flatMap((line) => line.match(/^Z (\S+)/)?.[1] ?? line.match(/^L \S+ (\S+)/)?.[1] ?? []);
  const old =
    'UTC UCT GMT GMT+0 GMT-0 GMT0 Greenwich Zulu EST MST HST EST5EDT CST6CDT MST7MDT PST8PDT CET EET MET WET Cuba Egypt Eire GB GB-Eire Hongkong Iceland Iran Israel Jamaica Japan Kwajalein Libya NZ NZ-CHAT Navajo PRC Poland Portugal ROC ROK Singapore Turkey Universal W-SU US/Pacific Canada/Newfoundland Brazil/Acre Chile/EasterIsland Mexico/General Etc/GMT+12 Etc/GMT-14 Etc/GMT0 America/Argentina/ComodRivadavia America/Port-au-Prince Antarctica/DumontDUrville';
  return [...new Set([...Intl.supportedValuesOf('timeZone'), ...listed, ...old.split(' ')])];
}

test('of a time zone: every name that there is is taken', async () => {
  const all = await verdicts(zones().map((timeZone) => ({ schedule: '0 3 * * *', timeZone })));
  expect(all.filter(({ kubernetes }) => yes(kubernetes)).length).toBeGreaterThan(400);
  expect(refusedAlone(all)).toEqual([]);
  expect(disagreed(all)).toEqual([]);
});

test.each(
  'Mars/Phobos Mars Local local utc europe/london Europe London/Europe UTC+1 GMT+5 +01:00 CEST BST PDT EST5 Etc/ /Etc/UTC ../UTC Europe/../UTC Europe//London "UTC"'.split(
    ' ',
  ),
)('the time zone %s, which is none, is refused in words', async (timeZone) => {
  const { kubernetes, policy, program } = await verdictOf({ schedule: '0 3 * * *', timeZone });
  const words = 'must be a name of the IANA time zone database, such as Etc/UTC or Europe/London, spelled as there';
  expect(kubernetes).not.toBe('');
  expect(policy).toContain(`spec.timeZone: Invalid value: ${JSON.stringify(timeZone)}: ${words}`);
  expect(program).toBe(words);
});
