import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { PresetName } from '../../src/api/presets.ts';
import { type CleanupOperation, cleanupOperations } from '../../src/api/spec.ts';
import { filledDatabase } from '../support/data/filled.ts';
import type { TestDatabase } from '../support/postgres/database.ts';
import type { Variant } from '../support/postgres/schema.ts';
import { runAndCompare } from '../support/retention-check.ts';

// 20,000 instructions and what belongs to them; what must happen to each row comes from the oracle in test/support.

const cases: [PresetName, Variant, readonly CleanupOperation[]][] = [
  ['ScientificCompliance', 'cascade', ['connections', 'instructions', 'sessions']],
  ['ScientificCompliance', 'no-action', ['connections', 'instructions', 'sessions']],
  ['Development', 'cascade', cleanupOperations],
  ['Development', 'no-action', cleanupOperations],
  ['Development', 'older', cleanupOperations],
];

describe.each(cases)('a full cleanup by %s, schema variant %s', (preset, variant, expecting) => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await filledDatabase(variant, 'large');
  });
  afterAll(() => database?.drop());

  test('does to every row what the policy says, and to no other', async () => {
    const { result, before } = await runAndCompare(database, { preset }, { expecting });
    expect(before.agentinstruction.size).toBe(20_000);
    for (const { name, closed = 1, archived = 1, deleted = 1, batches, skipped } of result.operations) {
      expect({ name, some: Math.min(closed, archived, deleted, batches) > 0, skipped }).toEqual({
        name,
        some: true,
        skipped: 0,
      });
    }
    const rows = result.operations.reduce((sum, o) => sum + (o.closed ?? 0) + (o.archived ?? 0) + (o.deleted ?? 0), 0);
    expect(result.rows).toBe(rows);
  });

  test('a second run deletes only archived instructions whose acknowledgements the first aged out', async () => {
    const { result, before, after } = await runAndCompare(database, { preset }, { expecting });
    const acknowledged = new Set([...before.agentinstructionacknowledgement.values()].map((row) => row.instruction_id));
    for (const [id, row] of before.agentinstruction) {
      if (after.agentinstruction.has(id)) continue;
      expect(JSON.parse(row.payload as string)).toMatchObject({ archived: true });
      expect(acknowledged).not.toContain(row.instruction_id);
    }
    const { deleted } = result.operations.find(({ name }) => name === 'instructions')!;
    expect(result.rows).toBe(deleted);
    expect(deleted! > 0).toBe(preset === 'Development');
  });

  test('a third run changes nothing', async () => {
    const { result } = await runAndCompare(database, { preset }, { expecting });
    expect(result.rows).toBe(0);
    expect(result.operations.map(({ batches }) => batches)).toEqual(expecting.map(() => 0));
  });
});
