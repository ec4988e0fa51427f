import { mkdir, writeFile } from 'node:fs/promises';
import { admissionPolicyYaml } from './admission-policy.ts';
import { crdYaml } from './crd.ts';
import { referencePage } from './reference.ts';

const root = new URL('../../../', import.meta.url);
await mkdir(new URL('crds/', root), { recursive: true });
await mkdir(new URL('docs/', root), { recursive: true });
await writeFile(new URL('crds/retentionpolicies.yaml', root), crdYaml());
await writeFile(new URL('docs/reference.md', root), referencePage());
await writeFile(new URL('deploy/base/admission-policy.yaml', root), admissionPolicyYaml());
