import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { policyFromFile } from '../../../src/cli/policy-file.ts';
import { policyManifest } from '../../support/policies.ts';

it.each([
  [{ caSecretRef: { name: 'ca' } }, 'verify-full'],
  [{ caSecretRef: { name: 'ca' }, mode: 'verify-ca' }, 'verify-ca'],
  [{ mode: 'require' }, 'require'],
  [undefined, undefined],
])('a file with the TLS %j asks of the server what the cluster asks', async (tls, mode) => {
  const database = { secretRef: { name: 'db' }, ...(tls && { tls }) };
  expect((await policyFromFile(await fileOf({ database }), undefined)).tlsMode).toBe(mode);
});

it.each([
  ['spec.schedule', { schedule: '0 0 30 2 *' }],
  ['spec.jobs[0].schedule', { jobs: [{ name: 'a', operations: ['sessions'], schedule: '0 0 31 4 *' }] }],
  ['spec.statistics.schedule', { statistics: { schedule: '0 0 31 2,4,6,9,11 *' } }],
])('a file whose %s never fires is refused, as the cluster runs nothing of it', async (field, spec) => {
  const file = await fileOf(spec);
  await expect(policyFromFile(file, undefined)).rejects.toThrow(`--file ${file}: ${field} `);
});

async function fileOf(spec: Record<string, unknown>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'retention-policy-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'policy.yaml');
  await writeFile(file, JSON.stringify(policyManifest('agents', 'x', spec)));
  return file;
}
