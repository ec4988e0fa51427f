import type { Condition } from '../../../src/api/status.ts';
import { conditions, type Findings } from '../../../src/controller/conditions.ts';

const generation = 3;
const now = new Date('2026-03-01T12:00:00Z');
const base = { name: 'nightly', cronJob: 'smartem-nightly' };
const succeeded = { ...base, lastSuccessTime: '2026-03-01T03:01:00Z' };
const failed = {
  ...base,
  lastFailure: { id: 'n1', result: 'Failed' as const, completionTime: '2026-03-01T03:01:00Z', message: 'no database' },
};

/** A policy as far as tools that wait for resources look at it. */
export interface PolicyState {
  metadata: { generation: number };
  status?: { observedGeneration: number; conditions: Condition[] };
}

/** The state that the controller's own code makes of what it found. */
function stateOf(findings: Partial<Findings>, current = generation): PolicyState {
  const healthy = {
    generation,
    suspended: false,
    dryRun: false,
    stopping: [],
    jobs: [succeeded],
    notStarted: [],
    overdue: [],
  };
  const status = { observedGeneration: generation, conditions: conditions([], { ...healthy, ...findings }, now) };
  return { metadata: { generation: current }, status };
}

/** What a policy can be in, by a name for tests. */
export const policyStates = {
  new: { metadata: { generation: 1 } },
  changed: stateOf({}, generation + 1),
  healthy: stateOf({}),
  'before its first run': stateOf({ jobs: [base] }),
  'with a failing run': stateOf({ jobs: [failed] }),
  'with a Pod that does not start': stateOf({ notStarted: [{ job: 'nightly', message: 'no such image' }] }),
  overdue: stateOf({ overdue: [{ job: 'nightly', message: 'has not succeeded' }] }),
  suspended: stateOf({ suspended: true }),
  'suspended after a failure': stateOf({ suspended: true, jobs: [failed] }),
  stalled: stateOf({ stalled: { reason: 'Overlap', message: 'an older policy' } }),
  'stalled, and changed since': stateOf({ stalled: { reason: 'Overlap', message: 'an older policy' } }, generation + 1),
  retrying: stateOf({ retrying: { reason: 'Forbidden', message: 'exceeded quota' } }),
} satisfies Record<string, PolicyState>;

export type PolicyStateName = keyof typeof policyStates;
