import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { admissionPolicyYaml } from '../../../src/api/generate/admission-policy.ts';
import { asTemplate, chartReadme, crdTemplate } from '../../../src/api/generate/chart.ts';
import { crdYaml } from '../../../src/api/generate/crd.ts';
import { referencePage } from '../../../src/api/generate/reference.ts';

const read = (file: string) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');

test.each<[string, () => string]>([
  ['crds/retentionpolicies.yaml', crdYaml],
  ['docs/reference.md', referencePage],
  ['deploy/base/admission-policy.yaml', admissionPolicyYaml],
  ['deploy/chart/templates/crd.yaml', () => crdTemplate(crdYaml())],
  ['deploy/chart/templates/admission-policy.yaml', () => asTemplate(admissionPolicyYaml(), 'admissionPolicy.enabled')],
  ['deploy/chart/README.md', () => chartReadme(read('deploy/chart/values.yaml'))],
])('%s is what `npm run generate` writes from src/api', (file, generated) => {
  const checkedIn = read(file);
  expect(checkedIn === generated(), `${file} is stale: run \`npm run generate\` and commit it`).toBe(true);
});

test('the chart, kustomize and the documentation have the version of the program', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(parse(read('deploy/chart/Chart.yaml'))).toMatchObject({ version, appVersion: version });
  expect(JSON.parse(read('package-lock.json'))).toMatchObject({ version });
  expect(parse(read('deploy/samples/kustomize/kustomization.yaml'))).toMatchObject({ images: [{ newTag: version }] });
  for (const file of ['deploy/base/deployment.yaml', 'README.md', 'docs/install.md']) {
    const tags = [...read(file).matchAll(/retention-operator:([\w.-]+)/g)].map(([, tag]) => tag);
    expect(new Set(tags), file).toEqual(new Set([version]));
  }
});

test('a value of the chart that nothing describes is an error, and a manifest that Helm would change too', () => {
  expect(() => chartReadme('# One.\na: 1\nb: 2\n')).toThrow('values.yaml says nothing of b');
  expect(() => asTemplate('message: "{{ x }}"', 'a')).toThrow('Helm would take {{');
});
