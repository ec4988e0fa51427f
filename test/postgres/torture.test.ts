import { afterEach, expect, test } from 'vitest';
import { addInstruction } from '../support/data/due-rows.ts';
import { createDatabase, type TestDatabase } from '../support/postgres/database.ts';
import { blocks, pidOf } from '../support/postgres/sessions.ts';
import { acknowledge, expectKept, torture } from '../support/torture.ts';

// The same race for longer: make torture.

let database: TestDatabase;
afterEach(() => database.drop());

test.each(['cascade', 'no-action'] as const)('runs back to back lose no acknowledgement, %s', async (template) => {
  database = await createDatabase({ template });
  const figures = await torture(database.url, 1_000);
  expect(figures.committed + figures.refused).toBe(1_000);
  expect(figures.committed).toBeGreaterThan(0);
  expect(figures.deleted).toBeGreaterThan(0);
});

test('the check finds the acknowledgement that a delete in one statement loses', async () => {
  database = await createDatabase({ template: 'cascade' });
  const writer = await database.client();
  const instruction = await addInstruction(database.pool);
  await writer.query('begin');
  const acknowledgement = (await acknowledge(writer, instruction))!;
  await expectKept(writer, [{ acknowledgement, instruction }]);
  const deletion = database.pool.query(
    `delete from agentinstruction i
      where not exists (select from agentinstructionacknowledgement a where a.instruction_id = i.instruction_id)`,
  );
  await blocks(database, await pidOf(writer));
  await writer.query('commit');
  expect((await deletion).rowCount).toBe(1);
  await expect(expectKept(writer, [{ acknowledgement, instruction }])).rejects.toThrow(
    `1 of 1 committed acknowledgements are lost: ${acknowledgement}`,
  );
});
