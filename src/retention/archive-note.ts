/** As a run's instant is written; a note of any version begins so. */
const timestamp = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}`;

/**
 * SQL condition: a jsonb column holds the note that a run leaves in place of what it archived, known by its whole shape:
 * `archived` is true, `archived_at` a time, `numbers` are numbers, and there is nothing else. An application's own data may
 * well have a key `archived`. False or NULL for anything else, never an error, and immutable, so that an index may use it.
 */
export function isArchiveNote(column: string, numbers: readonly string[] = []): string {
  const keys = ['archived_at', ...numbers];
  const empty = JSON.stringify({ archived: true, ...Object.fromEntries(keys.map((key) => [key, null])) });
  const filled = keys.reduce(
    (note, key) => `pg_catalog.jsonb_set(${note}, '{${key}}', ${column} operator(pg_catalog.->) '${key}')`,
    `'${empty}'::pg_catalog.jsonb`,
  );
  return [
    // First what is false, not NULL, for all others: a large value is read once.
    `${column} operator(pg_catalog.?) 'archived_at'`,
    `(${column} operator(pg_catalog.->>) 'archived_at') operator(pg_catalog.~) '${timestamp}'`,
    ...numbers.map(
      (key) => `pg_catalog.jsonb_typeof(${column} operator(pg_catalog.->) '${key}') operator(pg_catalog.=) 'number'`,
    ),
    `${filled} operator(pg_catalog.=) ${column}`,
  ].join(' and ');
}
