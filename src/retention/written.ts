import type pg from 'pg';
import { escapeLiteral } from 'pg';
import { asOfRun } from '../database/session.ts';
import { RowsRefused } from './bad-rows.ts';
import { type Operation, rowsByKey, type Step } from './operation.ts';

/** Rows were changed whose primary keys are not known: they must be, to look at what was written. Rolled back. */
export class KeysNeeded extends RowsRefused {
  constructor(table: string) {
    super(new Error(`triggers or rules of ${table} may change what is written`));
  }
}

/**
 * Checks deferred constraints now, under the settings of the login, and returns to those of the run. Whether anything of the
 * application's may have changed what was written: triggers and rules of the table or of a partition, or a partition elsewhere.
 * One message, so that it costs no round trip more. Nobody can add a trigger until the transaction ends.
 */
export async function settle(client: pg.Client, table: string): Promise<boolean> {
  const results = (await client.query(
    `set constraints all immediate;
     ${asOfRun};
     with recursive tree (rel) as (
       select ${escapeLiteral(table)}::regclass::oid
        union all
       select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.rel)
     select exists (select from tree join pg_trigger g on g.tgrelid = tree.rel where not g.tgisinternal and g.tgenabled <> 'D')
         or exists (select from tree join pg_rewrite w on w.ev_class = tree.rel where w.ev_enabled <> 'D')
         or exists (select from tree join pg_class c on c.oid = tree.rel where c.relkind = 'f') as watched`,
  )) as unknown as pg.QueryResult<{ watched: boolean }>[];
  return results.at(-1)!.rows[0]!.watched;
}

/** Throws RowsRefused where rows that a step has changed, by their primary keys, are not as it wrote them. */
export async function checkWritten(
  client: pg.Client,
  { table, primaryKey }: Operation,
  { written }: Step,
  keys: readonly string[],
): Promise<void> {
  const rows = rowsByKey(primaryKey, keys);
  const condition = written === 'gone' ? '' : `and ${written.where(1 + rows.parameters.length)}`;
  const result = await client.query<{ count: string }>(
    `select count(*) as count
       from ${table} t
      where ${rows.where(1)}
        ${condition}`,
    [...rows.parameters, ...(written === 'gone' ? [] : written.parameters)],
  );
  const found = Number(result.rows[0]!.count);
  const wrong = written === 'gone' ? found : keys.length - found;
  if (wrong === 0) return;
  throw new RowsRefused(
    new Error(
      written === 'gone'
        ? `${wrong} of ${keys.length} deleted rows of ${table} were there again: a trigger or a rule of that table inserts them`
        : `${wrong} of ${keys.length} rows of ${table} did not keep what was written to them: a trigger or a rule of that table changes it`,
    ),
  );
}
