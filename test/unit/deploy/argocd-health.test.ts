import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LuaFactory } from 'wasmoon';
import { type PolicyState, type PolicyStateName, policyStates } from '../../support/deploy/policy-states.ts';

const read = (file: string) => readFileSync(new URL(`../../../${file}`, import.meta.url), 'utf8');
const script = read('deploy/gitops/argocd-health.lua');
const lua = new LuaFactory();

/** Argo CD gives its scripts Lua tables, and neither null nor JavaScript's own objects. */
function luaValue(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(luaValue).join(', ')}}`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, each]) => `[${JSON.stringify(key)}] = ${luaValue(each)}`)}}`;
}

async function health(state: PolicyState): Promise<{ status: string; message: string }> {
  const engine = await lua.createEngine();
  try {
    return (await engine.doString(`local obj = ${luaValue(state)}\n${script}`)) as { status: string; message: string };
  } finally {
    engine.global.close();
  }
}

test.each<[PolicyStateName, string, string]>([
  ['new', 'Progressing', 'The controller has not seen this version yet'],
  ['changed', 'Progressing', 'The controller has not seen this version yet'],
  ['healthy', 'Healthy', 'In place: CronJob smartem-nightly'],
  ['before its first run', 'Healthy', 'In place: CronJob smartem-nightly'],
  ['with a failing run', 'Degraded', 'nightly: Failed: no database'],
  ['with a Pod that does not start', 'Degraded', 'nightly: no such image'],
  ['overdue', 'Degraded', 'nightly: has not succeeded'],
  ['suspended', 'Suspended', 'No run starts until spec.suspend is false again'],
  ['suspended after a failure', 'Suspended', 'No run starts until spec.suspend is false again'],
  ['stalled', 'Degraded', 'an older policy'],
  ['stalled, and changed since', 'Progressing', 'The controller has not seen this version yet'],
  ['retrying', 'Progressing', 'exceeded quota'],
])('Argo CD shows a policy that is %s as %s', async (name, status, message) => {
  expect(await health(policyStates[name])).toEqual({ status, message });
});

test('docs/gitops.md has the script, and the Kustomization, as they are', () => {
  const page = read('docs/gitops.md');
  const indented = script.replaceAll(/^(?=.)/gm, '    ');
  expect(page).toContain(`  resource.customizations.health.retention.agentdata.io_RetentionPolicy: |\n${indented}`);
  expect(page).toContain(read('deploy/gitops/flux-kustomization.yaml'));
});
