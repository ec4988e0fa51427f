import { cutText } from '../api/run-result.ts';
import { maxShortMessage, type RetentionPolicyStatus } from '../api/status.ts';
import { untilRepaired } from './placement.ts';

/**
 * What somebody should know first of a policy, for one column of kubectl's table: why it is not ready, or suspended; else why
 * its runs do not succeed; else what the newest run says. Undefined where there is nothing to say.
 */
export function shortMessage({ conditions = [], lastRun }: RetentionPolicyStatus): string | undefined {
  const [ready, runs] = ['Ready', 'LastRunSucceeded'].map((name) => conditions.find(({ type }) => type === name));
  const waits = ready && (ready.status === 'False' || ready.reason === 'Suspended');
  const told = waits ? `${ready.reason}: ${ready.message.replace(untilRepaired, '')}` : lastRun?.message;
  const text = !waits && runs?.status === 'False' ? runs.message : told;
  return text && cutText(text.replaceAll(/\s+/g, ' '), maxShortMessage);
}
