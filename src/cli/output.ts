import { exitCodes, type OperationResult, printable, type RunReport, type Statistics } from '../api/run-result.ts';
import type { outputs } from './policy-options.ts';

const number = new Intl.NumberFormat('en-US');

/** A run's report in the format that was asked for; ends with a newline. For people it is printable, for programs exact. */
export async function printReport(report: RunReport, format: (typeof outputs)[number]): Promise<string> {
  if (format === 'json') return `${JSON.stringify(report, undefined, 2)}\n`;
  if (format === 'yaml') return (await import('yaml')).stringify(report);
  const body = report.statistics === undefined ? cleanupText(report) : statisticsText(report.statistics);
  return `${printable(body)}\n`;
}

function cleanupText(report: RunReport): string {
  const { policy } = report;
  const actions = report.result === 'DryRun' ? 'would change' : 'changed';
  return [
    ...(report.operations.length === 0 ? [] : operationsText(report.operations)),
    `${report.result}: ${number.format(report.rows)} rows ${actions}, ${report.startTime} to ${report.completionTime} (${report.durationSeconds} s)`,
    // Why it did not go well is told on stderr.
    ...(report.message === undefined || exitCodes[report.result] !== 0 ? [] : [report.message]),
    ...(policy === undefined
      ? []
      : [
          `Policy ${policy.preset}: connections ${policy.connectionCleanupHours} h, instructions ${policy.instructionRetentionDays} d, sessions ${policy.completedSessionRetentionDays} d, acknowledgements ${policy.acknowledgementRetentionDays} d, batches of ${policy.batchSize}`,
        ]),
  ].join('\n');
}

function operationsText(operations: readonly OperationResult[]): string[] {
  return [
    ...table([
      ['OPERATION', 'OLDER THAN', 'CLOSED', 'ARCHIVED', 'DELETED', 'SKIPPED', 'BATCHES', 'SECONDS'],
      ...operations.map(operationRow),
    ]),
    ...operations.flatMap(({ name, message, failed }) =>
      message === undefined || failed !== undefined ? [] : [`${name}: ${message}`],
    ),
    '',
  ];
}

function operationRow(operation: OperationResult): string[] {
  const count = (value: number | undefined) => (value === undefined ? '-' : number.format(value));
  return [
    operation.name,
    operation.cutoff ?? '-',
    count(operation.closed),
    count(operation.archived),
    count(operation.deleted),
    count(operation.skipped),
    count(operation.batches),
    operation.durationSeconds.toFixed(1),
  ];
}

const kinds = ['sessions', 'instructions', 'connections', 'acknowledgements'] as const;

function statisticsText(statistics: Statistics): string {
  const rows = kinds.map((kind) => {
    const records = statistics.recordCounts[kind];
    const due = statistics.due[kind];
    return [
      kind,
      records === undefined ? '-' : `${records.estimated ? '~' : ''}${number.format(records.rows)}`,
      statistics.tableSizes[kind]?.size ?? '-',
      statistics.oldest[kind] ?? '-',
      due === undefined ? 'unknown' : number.format(due),
    ];
  });
  const uncovered = (['sessions', 'instructions'] as const).flatMap((kind) =>
    (statistics.uncovered[kind] ?? []).map(
      ({ status, rows: count }) =>
        `${kind}: ${number.format(count)} past their age in status ${JSON.stringify(status)}`,
    ),
  );
  const undated = kinds.flatMap((kind) => {
    const count = statistics.undated?.[kind] ?? 0;
    return count === 0 ? [] : [`${kind}: ${number.format(count)} without a time to count their age from, never due`];
  });
  return [
    ...table([['TABLE', 'ROWS', 'SIZE', 'OLDEST', 'DUE'], ...rows]),
    '',
    `${statistics.totalSize} in all, observed at ${statistics.observedAt}`,
    ...(uncovered.length === 0 ? [] : ['', 'In no status that an operation takes:', ...uncovered]),
    ...(undated.length === 0 ? [] : ['', ...undated]),
  ].join('\n');
}

/** Columns padded to their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('   ')
      .trimEnd(),
  );
}
