import { parseArgs } from 'node:util';
import { type Dataset, type Size, sizes } from './data.ts';

const scenarios = ['cleanup', 'flat', 'nothing-due', 'foreground', 'start'] as const;
type Scenario = (typeof scenarios)[number];

export interface BenchOptions {
  /** What the contenders clean up, smallest first. */
  datasets: Dataset[];
  scenarios: Scenario[];
  rounds: number;
  /** Where the report goes besides standard output; its JSON is put beside it. */
  output: string | undefined;
}

/** Reads the command line; throws one sentence about what is wrong with it. */
export function readOptions(args: string[]): BenchOptions {
  const { values } = parseArgs({
    args,
    options: {
      size: { type: 'string' },
      shuffled: { type: 'boolean', default: false },
      scenario: { type: 'string', default: scenarios.join(',') },
      rounds: { type: 'string', default: '5' },
      output: { type: 'string' },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`--rounds ${values.rounds}: must be a whole number from 1`);
  }
  return {
    datasets: datasetsOf(values.size, values.shuffled),
    scenarios: listOf('--scenario', values.scenario, scenarios),
    rounds,
    output: values.output,
  };
}

/** Without a size what the goals speak of: S and M, and M shuffled as the worst case. */
function datasetsOf(size: string | undefined, shuffled: boolean): Dataset[] {
  if (size !== undefined) {
    return listOf('--size', size, Object.keys(sizes) as Size[]).map((one) => ({ size: one, shuffled }));
  }
  const inOrder: Dataset[] = shuffled
    ? []
    : [
        { size: 'S', shuffled: false },
        { size: 'M', shuffled: false },
      ];
  return [...inOrder, { size: 'M', shuffled: true }];
}

function listOf<T extends string>(option: string, text: string, allowed: readonly T[]): T[] {
  const named = text.split(',');
  const unknown = named.find((name) => !allowed.some((one) => one === name));
  if (unknown !== undefined) throw new Error(`${option} ${text}: "${unknown}" is none of ${allowed.join(', ')}`);
  return allowed.filter((one) => named.includes(one));
}
