import { stringify } from 'yaml';
import { group, plural, version } from '../policy.ts';
import { auditTrailDays } from '../presets.ts';
import { effectiveCel } from '../rules.ts';

const name = `audit-trail.${group}`;
const labels = { 'app.kubernetes.io/name': 'retention-operator' };

const inForce = (object: string) => effectiveCel('acknowledgementRetentionDays', `${object}.spec`);

/** Warns, and refuses nothing, where a policy keeps acknowledgements for less than seven years. */
const policy = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'ValidatingAdmissionPolicy',
  metadata: { name, labels },
  spec: {
    // A warning is no reason to keep anybody from applying.
    failurePolicy: 'Ignore',
    matchConstraints: {
      resourceRules: [
        { apiGroups: [group], apiVersions: [version], resources: [plural], operations: ['CREATE', 'UPDATE'] },
      ],
    },
    // Not again with each annotation, diff and repeated apply: only where the period in force is new.
    matchConditions: [
      {
        name: 'period-in-force-is-new',
        expression: `oldObject == null || ${inForce('object')} != ${inForce('oldObject')}`,
      },
    ],
    variables: [{ name: 'days', expression: inForce('object') }],
    validations: [
      {
        expression: `variables.days >= ${auditTrailDays}`,
        messageExpression: `'acknowledgementRetentionDays in force is ' + string(variables.days) + ', by spec.retention or the preset ' + object.spec.preset + ': acknowledgements older than that are deleted, and the audit trail is shorter than seven years (${auditTrailDays} days)'`,
      },
    ],
  },
};

const binding = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'ValidatingAdmissionPolicyBinding',
  metadata: { name, labels },
  spec: { policyName: name, validationActions: ['Warn'] },
};

/** deploy/base/admission-policy.yaml. */
export function admissionPolicyYaml(): string {
  const header = '# Generated from src/api by `npm run generate`; do not edit.\n';
  return header + [policy, binding].map((object) => stringify(object, { lineWidth: 0 })).join('---\n');
}
