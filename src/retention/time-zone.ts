import type pg from 'pg';
import { ConfigurationError } from '../database/config.ts';
import type { ColumnTypes } from './catalog.ts';

/** POSIX's way to write a zone: an abbreviation, which may be missing, and the hours to be added to reach UTC. */
const posix = /^[A-Za-z]*([+-]?)([0-9]{1,2})/;

/**
 * Throws ConfigurationError unless PostgreSQL lists the time zone by this very name. It would take any word with digits as
 * POSIX does (`UTC-5` is five hours ahead of UTC), and abbreviations. Looked up only where a column needs it: PostgreSQL
 * reads hundreds of files to list its zones.
 */
export async function checkTimeZone(client: pg.Client, timeZone: string, types: ColumnTypes): Promise<void> {
  const needed = [...types.values()].includes('timestamp without time zone');
  if (!needed || timeZone === 'UTC') return;
  const { rows } = await client.query<{ name: string }>(
    `select z.name
       from pg_catalog.pg_timezone_names z
      where lower(z.name) = lower($1)`,
    [timeZone],
  );
  if (rows.some(({ name }) => name === timeZone)) return;
  throw new ConfigurationError(
    `spec.database.timestampTimeZone: "${timeZone}" is no time zone that PostgreSQL lists${hint(timeZone, rows[0]?.name)}; use a name of pg_timezone_names, such as UTC, Europe/London or America/New_York`,
  );
}

function hint(timeZone: string, listed: string | undefined): string {
  if (listed !== undefined) return ` (it lists "${listed}")`;
  const [, sign, hours] = posix.exec(timeZone) ?? [];
  if (hours === undefined) return '';
  const meant = `read as POSIX does it would be ${Number(hours)} hours ${sign === '-' ? 'ahead of' : 'behind'} UTC`;
  return ` (${meant}${sign === '' ? '' : ', the opposite of what it looks like'})`;
}
