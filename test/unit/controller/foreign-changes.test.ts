import { describe, expect, it } from 'vitest';
import { changesRuns, namesOf } from '../../../src/controller/foreign-changes.ts';
import { statedDifferences } from '../../../src/kubernetes/equality.ts';
import { cronJobOf } from '../../support/controller-objects.ts';

const difference = (path: string, wanted: unknown = 'a', found: unknown = 'b') => ({
  path,
  wanted,
  found,
  owned: true,
});
const pod = '.spec.jobTemplate.spec.template.spec';
const runner = `${pod}.containers[runner]`;

describe('a field that others changed', () => {
  it.each([
    '.spec.suspend',
    '.spec.timeZone',
    '.spec.concurrencyPolicy',
    '.spec.jobTemplate.spec.activeDeadlineSeconds',
    '.spec.template.spec.containers[runner].args',
    `${runner}.env[RETENTION_POLICY].value`,
    `${pod}.serviceAccountName`,
    `${pod}.volumes[database].secret.secretName`,
    '.metadata.ownerReferences[u].uid',
    '.rules',
    '.automountServiceAccountToken',
    '.metadata.labels.retention.agentdata.io/policy',
    '.metadata.labels',
    '.metadata.annotations',
    '.spec.jobTemplate.metadata.labels.retention.agentdata.io/job',
    '.spec.jobTemplate.metadata.annotations.retention.agentdata.io/template-hash',
    '.spec.jobTemplate.spec.suspend',
    '.spec.jobTemplate.spec.parallelism',
  ])('matters to a run: %s', (path) => expect(changesRuns(difference(path))).toBe(true));

  it.each([
    `${runner}.resources.limits.memory`,
    `${runner}.imagePullPolicy`,
    `${pod}.nodeSelector.disk`,
    `${pod}.securityContext.runAsNonRoot`,
    '.metadata.labels.team',
    '.spec.template.metadata.annotations',
    '.spec.successfulJobsHistoryLimit',
  ])('does not: %s', (path) => expect(changesRuns(difference(path))).toBe(false));

  it('matters as an image by its name and tag, wherever that is', () => {
    const image = (wanted: string, found: string) => changesRuns(difference(`${runner}.image`, wanted, found));
    expect(image('ghcr.io/x/retention:1', 'mirror.invalid:5000/ghcr/retention:1')).toBe(false);
    expect(image('ghcr.io/x/retention:1', 'ghcr.io/x/retention:2')).toBe(true);
    expect(image('ghcr.io/x/retention:1@sha256:a', 'ghcr.io/x/retention:1')).toBe(true);
  });

  it('is named with its value only where that is nobody’s secret', () => {
    const differences = [
      difference('.spec.suspend', false, true),
      difference(`${runner}.env[X].value`, 'a', 'secret'),
      difference('.metadata.annotations.x', 'a', 'secret'),
    ];
    const object = cronJobOf('nightly');
    const words = namesOf({ object, differences });
    expect(words).toMatch(/^CronJob smartem-nightly \(spec\.suspend is true, spec\..*\.env\[X\]\.value, metadata/);
    expect(words).not.toContain('secret');
    expect(namesOf({ object, differences: Array(20).fill(differences[0]) })).toMatch(/, 12 more\)$/);
  });
});

it('what was created differs by the fields that were stated, not by what was added', () => {
  const wanted = {
    labels: { a: '1' },
    resources: { limits: { memory: '1Gi' } },
    containers: [{ name: 'main', args: ['run'], env: [{ name: 'A', value: 'a' }] }],
  };
  const live = {
    labels: { a: '1', b: '2' },
    resources: { limits: { memory: '1024Mi', cpu: '1' } },
    containers: [
      { name: 'sidecar', args: ['x'] },
      { name: 'main', args: ['run'], env: [{ name: 'B' }, { name: 'A', value: 'a' }], stdin: false },
    ],
  };
  const paths = (there: object) => [...statedDifferences(wanted, there)].map(({ path }) => path);
  expect(paths(live)).toEqual([]);
  expect(paths({ ...live, labels: {} })).toEqual(['.labels.a']);
  expect(paths({ ...live, containers: [{ name: 'main', args: ['run', 'x'], env: [] }] })).toEqual([
    '.containers[main].args',
    '.containers[main].env[A]',
  ]);
  expect(paths({ ...live, containers: [] })).toEqual(['.containers[main]']);
});
