import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { admissionPolicyYaml } from '../../../src/api/generate/admission-policy.ts';
import { crdYaml } from '../../../src/api/generate/crd.ts';
import { referencePage } from '../../../src/api/generate/reference.ts';

test.each([
  ['crds/retentionpolicies.yaml', crdYaml],
  ['docs/reference.md', referencePage],
  ['deploy/base/admission-policy.yaml', admissionPolicyYaml],
])('%s is what `npm run generate` writes from src/api', async (file, generated) => {
  const checkedIn = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8');
  expect(checkedIn === generated(), `${file} is stale: run \`npm run generate\` and commit it`).toBe(true);
});
