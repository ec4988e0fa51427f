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
  const folder = await mkdtemp(join(tmpdir(), 'retention-policy-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'policy.yaml');
  const database = { secretRef: { name: 'db' }, ...(tls && { tls }) };
  await writeFile(file, JSON.stringify(policyManifest('agents', 'x', { database })));
  expect((await policyFromFile(file, undefined)).tlsMode).toBe(mode);
});
