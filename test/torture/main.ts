// Races inserts of acknowledgements against cleanups, on both forms of the foreign key, and checks that none is lost.
import { z } from 'zod';
import { loadSchema } from '../support/postgres/schema.ts';
import { databaseUrl, startPostgres, withClient } from '../support/postgres/server.ts';
import { torture } from '../support/torture.ts';

function insertsWanted(): number {
  const text = process.env.TORTURE_INSERTS || '20000';
  const { success, data } = z.coerce.number().int().min(1).safeParse(text);
  if (!success) throw new Error(`TORTURE_INSERTS=${text}: must be a whole number from 1`);
  return data;
}

async function main(): Promise<void> {
  const inserts = insertsWanted();
  const { adminUrl, version, source, stop } = await startPostgres();
  try {
    process.stdout.write(`PostgreSQL ${version}, ${source}; ${inserts} inserts each\n`);
    for (const variant of ['cascade', 'no-action'] as const) {
      const name = `torture_${variant.replace('-', '_')}`;
      const url = databaseUrl(adminUrl, name);
      await withClient(adminUrl, (admin) => admin.query(`create database ${name} template template0`));
      try {
        await withClient(url, (client) => loadSchema(client, variant));
        const { committed, refused, slow, deleted, archived, runs, seconds } = await torture(url, inserts);
        process.stdout.write(
          `${variant}: ${committed} inserts committed and all there, ${refused} refused by the foreign key, ` +
            `${slow} took more than 5 ms; ${deleted} instructions deleted and ${archived} archived by ${runs} runs ` +
            `in ${seconds.toFixed(1)} s\n`,
        );
      } finally {
        await withClient(adminUrl, (admin) => admin.query(`drop database ${name} with (force)`));
      }
    }
  } finally {
    await stop();
  }
}

try {
  await main();
} catch (error) {
  process.stderr.write(`torture: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
