import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { admissionPolicyYaml } from './admission-policy.ts';
import { asTemplate, chartReadme, crdTemplate } from './chart.ts';
import { crdYaml } from './crd.ts';
import { referencePage } from './reference.ts';

const root = new URL('../../../', import.meta.url);
await mkdir(new URL('crds/', root), { recursive: true });
await mkdir(new URL('docs/', root), { recursive: true });
await writeFile(new URL('crds/retentionpolicies.yaml', root), crdYaml());
await writeFile(new URL('docs/reference.md', root), referencePage());
await writeFile(new URL('deploy/base/admission-policy.yaml', root), admissionPolicyYaml());

const chart = new URL('deploy/chart/', root);
await writeFile(new URL('templates/crd.yaml', chart), crdTemplate(crdYaml()));
const admissionPolicy = asTemplate(admissionPolicyYaml(), 'admissionPolicy.enabled');
await writeFile(new URL('templates/admission-policy.yaml', chart), admissionPolicy);
const values = await readFile(new URL('values.yaml', chart), 'utf8');
await writeFile(new URL('README.md', chart), chartReadme(values));
