import { inject } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../postgres/database.ts';
import { loadSchema, type Variant } from '../postgres/schema.ts';
import { databaseUrl, withClient } from '../postgres/server.ts';
import { generate } from './generator.ts';

/** The instant that the ages of generated rows count from, as a run takes it. */
export const instant = '2026-11-23T10:20:30.123456Z';

const sizes = {
  small: { sessions: 100, instructions: 2_000, connections: 300 },
  large: { sessions: 400, instructions: 20_000, connections: 2_000 },
};

/** A database with generated rows: a clone of one that is filled once per test run, variant and size. */
export async function filledDatabase(variant: Variant, size: keyof typeof sizes = 'small'): Promise<TestDatabase> {
  const { adminUrl, prefix } = inject('postgres');
  const source = `${prefix}_${size}_${variant.replace('-', '_')}`;
  await withClient(adminUrl, async (admin) => {
    // Test files run in processes of their own; the first one fills, the others wait.
    await admin.query('select pg_advisory_lock(hashtext($1))', [source]);
    const { rowCount } = await admin.query('select from pg_database where datname = $1', [source]);
    if (rowCount) return;
    const filling = `${source}_filling`;
    await admin.query(`create database ${admin.escapeIdentifier(filling)} template template0`);
    await withClient(databaseUrl(adminUrl, filling), async (client) => {
      await loadSchema(client, variant);
      await generate(client, { seed: 3, now: instant, ...sizes[size] });
    });
    await admin.query(`alter database ${admin.escapeIdentifier(filling)} rename to ${admin.escapeIdentifier(source)}`);
  });
  return cloneDatabase(source);
}
