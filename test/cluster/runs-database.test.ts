import { afterAll, beforeAll, expect, test } from 'vitest';
import { addConnection, countOf } from '../support/data/due-rows.ts';
import { useCluster } from '../support/kubernetes/cluster.ts';
import { createCertificateAuthority } from '../support/pki.ts';
import { conditionOf } from '../support/policies.ts';
import { type RunDatabase, type RunServer, startRunServer, uriOf } from '../support/postgres/run-database.ts';
import { freePort } from '../support/processes.ts';
import { entryOf, Runs } from '../support/runs.ts';

const cluster = useCluster();
let server: RunServer;
let runs: Runs;

beforeAll(async () => {
  [server, runs] = await Promise.all([startRunServer(), Runs.start(cluster)]);
});

afterAll(async () => {
  await runs?.stop();
  await server?.stop();
});

/** What is wrong with a database or its Secrets, the words that name it and say what to do, and what the Pod exits with. */
interface Failure {
  name: string;
  words: RegExp;
  exitCode: number;
  /** The database's Secret as it is wrong, by its right keys; undefined for none. The right one if left out. */
  secret?: (right: RunDatabase['login']) => Promise<object | undefined> | object | undefined;
  /** The Secret with the CA as it is wrong; undefined for none. The right one if left out. */
  caSecret?: () => Promise<object | undefined>;
  /** SQL that breaks the database, and the one that repairs it. */
  sql?: { breaks: string; repairs: string };
}

const failures: Failure[] = [
  {
    name: 'wrong-password',
    secret: (right) => ({ uri: uriOf({ ...right, password: 'not-it' }) }),
    words: /refused the login of user "retention-runs" .*check user and password in Secret wrong-password-db/,
    exitCode: 1,
  },
  {
    name: 'nothing-listens',
    secret: async (right) => ({ ...right, port: String(await freePort()) }),
    words: /nothing answers at localhost:\d+; .*are host and port in Secret nothing-listens-db right\?/,
    exitCode: 1,
  },
  {
    name: 'unknown-database',
    secret: (right) => ({ uri: uriOf({ ...right, dbname: 'nowhere' }) }),
    words: /the server at localhost:\d+ has no database "nowhere"; check Secret unknown-database-db/,
    exitCode: 1,
  },
  {
    name: 'missing-table',
    sql: {
      breaks: 'alter table agentconnection rename to elsewhere',
      repairs: 'alter table elsewhere rename to agentconnection',
    },
    words: /table agentconnection does not exist in schema "public" of this database; check spec\.database\.schema/,
    exitCode: 2,
  },
  {
    name: 'missing-secret',
    secret: () => undefined,
    words: /Secret missing-secret-db does not exist or is empty: create it in the policy's namespace with key uri/,
    exitCode: 2,
  },
  {
    name: 'missing-key',
    secret: ({ password: _, ...others }) => others,
    words: /Secret missing-key-db has no key uri and lacks password; it has dbname, host, port, user/,
    exitCode: 2,
  },
  {
    name: 'wrong-ca',
    caSecret: async () => ({ 'ca.crt': (await createCertificateAuthority('another authority')).certificate }),
    words: /is not signed by the CA that was given .*give the CA that signed it \(spec\.database\.tls\.caSecretRef/,
    exitCode: 1,
  },
  {
    name: 'missing-ca',
    caSecret: async () => undefined,
    words: /Secret missing-ca-ca \(spec\.database\.tls\.caSecretRef\) does not exist or has no key ca\.crt/,
    exitCode: 2,
  },
  {
    name: 'wrong-host',
    secret: (right) => ({ ...right, host: '127.0.0.1' }),
    words: /the certificate of 127\.0\.0\.1:\d+ is for other names than 127\.0\.0\.1; connect by a name it holds/,
    exitCode: 1,
  },
];

test.concurrent.for(failures)(
  '$name: said in status, columns and an Event; put right, the next run clears it',
  async ({ name, words, exitCode, secret = (right) => right, caSecret = rightCa, sql }) => {
    const database = await server.createDatabase();
    await addConnection(database.pool);
    const wrong = [await secret(database.login), await caSecret()];
    if (wrong[0]) await runs.applySecret(`${name}-db`, wrong[0]);
    if (wrong[1]) await runs.applySecret(`${name}-ca`, wrong[1]);
    if (sql) await database.pool.query(sql.breaks);
    await runs.applyPolicy(name, {
      database: { tls: { caSecretRef: { name: `${name}-ca` } } },
      jobs: [{ name: 'cleanup', operations: ['connections'] }],
    });

    const { run, status } = await runs.runNow(name);
    expect(run).toMatchObject({ result: 'Failed', rows: 0 });
    expect(run.message).toMatch(words);
    expect(await runs.exitCode(run.id)).toBe(exitCode);
    const failed = conditionOf(status, 'LastRunSucceeded')!;
    expect(failed).toMatchObject({ status: 'False', reason: 'RunFailed' });
    expect(failed.message).toMatch(words);
    expect(conditionOf(status, 'Ready')).toMatchObject({ status: 'True' });
    expect(conditionOf(status, 'Stalled')).toBeUndefined();
    await runs.event(name, 'RunFailed', words);
    const columns = await runs.columns(name);
    expect(columns).toMatchObject({ READY: 'True', RESULT: 'Failed', ROWS: '0', 'LAST RUN SUCCEEDED': 'False' });
    expect(columns.MESSAGE).toMatch(words);

    if (sql) await database.pool.query(sql.repairs);
    await runs.applySecret(`${name}-db`, { uri: uriOf(database.login) });
    await runs.applySecret(`${name}-ca`, { 'ca.crt': server.ca });
    const { run: repaired, status: after } = await runs.runNow(name);
    expect(repaired).toMatchObject({ result: 'Succeeded', rows: 1 });
    expect(await countOf(database.pool, 'agentconnection', `status = 'timeout'`)).toBe(1);
    expect(conditionOf(after, 'LastRunSucceeded')).toMatchObject({ status: 'True', reason: 'RunsSucceeded' });
    expect(entryOf(after)!.lastFailure).toBeUndefined();
    expect(await runs.columns(name)).toMatchObject({ RESULT: 'Succeeded', ROWS: '1', 'LAST RUN SUCCEEDED': 'True' });
  },
);

async function rightCa(): Promise<object> {
  return { 'ca.crt': server.ca };
}
