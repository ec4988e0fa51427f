import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { cutText, printable, type RunReport, resultWithoutOperations } from '../../../src/api/run-result.ts';
import { harmless } from '../../../src/cli/logger.ts';
import { printReport } from '../../../src/cli/output.ts';
import { textLogger } from '../../../src/cli/text-logger.ts';

/** What a terminal would obey: clear it, set its title, the same by C1, write backwards, overwrite the line. */
const hostile = [
  '\u001b[2J',
  '\u001b]0;title\u0007',
  '\u009b2J',
  '\u202egnp.exe',
  'all well\r',
  '\u007f',
  '\u2066x',
  '\u{e0041}',
];
const obeyed = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
const identity = { id: 'cli-1', job: 'stats', trigger: 'CommandLine' } as const;

function reportWith(text: string): RunReport {
  const report = resultWithoutOperations(identity, 'Succeeded', new Date(0), new Date(0));
  return {
    ...report,
    message: text,
    operations: [{ name: 'sessions', cutoff: text, skipped: 0, batches: 0, durationSeconds: 0, message: text }],
  };
}

function statisticsWith(text: string): RunReport {
  const statistics: RunReport['statistics'] = {
    observedAt: '2026-11-23T03:17:00Z',
    recordCounts: {},
    tableSizes: { sessions: { bytes: 1, size: text } },
    totalSizeBytes: 1,
    totalSize: '1 bytes',
    oldest: {},
    due: {},
    uncovered: { sessions: [{ status: text, rows: 1 }] },
  };
  return { ...reportWith(''), statistics };
}

describe.each(hostile)('a text with %j', (text) => {
  it('does nothing to a terminal: in results, in statistics, in warnings, in what goes into a status', async () => {
    const warnings = new PassThrough({ encoding: 'utf8' });
    textLogger(warnings).warn({ name: text, reason: text }, 'told');
    const shown = [
      await printReport(reportWith(text), 'text'),
      await printReport(statisticsWith(text), 'text'),
      String(warnings.read()),
      cutText(text),
      resultWithoutOperations(identity, 'Failed', new Date(0), new Date(0), text).message!,
    ];
    for (const each of shown) {
      expect(each).not.toMatch(obeyed);
      expect(each).toMatch(/\\(x[0-9a-f]{2}|u[0-9a-f]{4}|u\{e0041\})/);
    }
  });

  it('stays exact for programs, in JSON, YAML and log lines, and a log does nothing to a terminal either', async () => {
    const report = statisticsWith(text);
    expect(JSON.parse(await printReport(report, 'json'))).toEqual(report);
    expect(parse(await printReport(report, 'yaml'))).toEqual(report);
    const line = harmless(`${JSON.stringify({ text })}\n`);
    expect(line).not.toMatch(obeyed);
    expect(JSON.parse(line)).toEqual({ text });
  });
});

it('a line break in a status makes no line of its own', async () => {
  const text = await printReport(statisticsWith('x\nerror: all is lost'), 'text');
  expect(text).toContain('in status "x\\nerror: all is lost"');
});

it('ordinary text stays as it is', () => {
  for (const text of ['Größe: 1\u202f000', 'a\tb\nc', '日本語 🧪', '']) expect(printable(text)).toBe(text);
});
