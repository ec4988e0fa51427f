import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { configFromCommandLine } from '../../../src/database/command-line.ts';
import { ConfigurationError } from '../../../src/database/config.ts';
import { configFromSecret } from '../../../src/database/credentials.ts';

const pem = `${rootCertificates[0]}\n`;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-credentials-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A Secret as a kubelet mounts it: keys are links into a hidden folder. */
async function secret(name: string, keys: Record<string, string>): Promise<string> {
  const directory = join(folder, name);
  await mkdir(join(directory, '..2026_11_23'), { recursive: true });
  await symlink('..2026_11_23', join(directory, '..data'));
  for (const [key, value] of Object.entries(keys)) {
    await writeFile(join(directory, '..data', key), value);
    await symlink(join('..data', key), join(directory, key));
  }
  return directory;
}

const fromSecret = async (keys: Record<string, string>) =>
  configFromSecret({ directory: await secret('database', keys), secretName: 'db' });

async function refusal(attempt: Promise<unknown>): Promise<string> {
  const error = await attempt.catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(ConfigurationError);
  return (error as Error).message;
}

const expected = {
  servers: [{ host: 'db', port: 5433 }],
  database: 'smartem',
  user: 'agent',
  password: 's3cret',
};

describe('a mounted Secret', () => {
  const forms: [what: string, keys: Record<string, string>][] = [
    ['key uri alone', { uri: 'postgresql://agent:s3cret@db:5433/smartem' }],
    [
      'CloudNativePG',
      {
        dbname: 'smartem',
        'fqdn-uri': 'postgresql://agent:s3cret@db.ns.svc.cluster.local:5433/smartem',
        host: 'db',
        'jdbc-uri': 'jdbc:postgresql://db:5433/smartem?password=s3cret&user=agent',
        password: 's3cret',
        pgpass: 'db:5433:smartem:agent:s3cret\n',
        port: '5433',
        uri: 'postgresql://agent:s3cret@db:5433/smartem',
        user: 'agent',
        username: 'agent',
      },
    ],
    [
      'Crunchy',
      {
        dbname: 'smartem',
        host: 'db',
        'jdbc-uri': 'jdbc:postgresql://db:5433/smartem?password=s3cret&user=agent',
        password: 's3cret',
        port: '5433',
        uri: 'postgresql://agent:s3cret@db:5433/smartem',
        user: 'agent',
        verifier: 'SCRAM-SHA-256$4096:…',
      },
    ],
    [
      'Service Binding',
      {
        type: 'postgresql',
        provider: 'example',
        host: 'db',
        port: '5433',
        database: 'smartem',
        username: 'agent',
        password: 's3cret',
      },
    ],
    ['single keys', { host: 'db', port: '5433', dbname: 'smartem', user: 'agent', password: 's3cret' }],
    [
      'single keys that end in a newline',
      { host: 'db\n', port: '5433\n', dbname: 'smartem\r\n', user: 'agent\n', password: 's3cret\n' },
    ],
    ['a uri that ends in a newline', { uri: 'postgresql://agent:s3cret@db:5433/smartem\n' }],
  ];
  test.each(forms)('in the form of %s', async (_what, keys) => {
    expect(await fromSecret(keys)).toEqual({
      ...expected,
      source: keys.uri === undefined ? 'Secret db' : 'Secret db, key uri',
      secret: true,
      connectTimeoutMs: 10_000,
      tls: { mode: 'require' },
    });
  });

  test('keeps whatever else a password has at its ends', async () => {
    const keys = { host: 'db', dbname: 'd', user: 'u', password: ' two lines\nand spaces \n\n' };
    expect((await fromSecret(keys)).password).toBe(' two lines\nand spaces \n');
  });

  test.each<Record<string, string>>([{}, { port: '' }])('with the port %j means 5432', async (port) => {
    expect(await fromSecret({ host: 'db', dbname: 'd', user: 'u', password: 'p', ...port })).toMatchObject({
      servers: [{ port: 5432 }],
    });
  });

  test.each([
    ['host', 'host'],
    ['dbname', 'dbname (or database)'],
    ['user', 'user (or username)'],
    ['password', 'password'],
  ])('without key %s is refused by its name', async (key, named) => {
    const keys: Record<string, string> = {
      host: 'db',
      port: '5433',
      dbname: 'smartem',
      user: 'agent',
      password: 's3cret',
    };
    for (const without of [{ [key]: undefined }, { [key]: '' }, { [key]: '\n' }]) {
      await rm(folder, { recursive: true, force: true });
      const given = Object.fromEntries(
        Object.entries({ ...keys, ...without }).filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
      const message = await refusal(fromSecret(given));
      expect(message).toMatch(`Secret db has no key uri and lacks ${named};`);
      expect(message).not.toContain('s3cret');
    }
  });

  test('without several keys is refused by all their names', async () => {
    expect(await refusal(fromSecret({ PASSWORD: 's3cret' }))).toBe(
      'Secret db has no key uri and lacks host, dbname (or database), user (or username), password; it must have uri, or host, dbname (or database), user (or username) and password',
    );
  });

  test.each(['0', '65536', 'five', '5432.5', '5432 5433'])('with port %j is refused', async (port) => {
    const keys = { host: 'db', port, dbname: 'd', user: 'u', password: 's3cret' };
    expect(await refusal(fromSecret(keys))).toBe('Secret db, key port must be a number from 1 to 65535');
  });

  test('that is not there, or empty, is refused by its name', async () => {
    const sentence =
      /^Secret db does not exist or is empty: create it in the policy's namespace with key uri, or with host/;
    expect(await refusal(configFromSecret({ directory: join(folder, 'none'), secretName: 'db' }))).toMatch(sentence);
    expect(await refusal(fromSecret({}))).toMatch(sentence);
  });

  test('with a broken uri is refused without its text', async () => {
    const message = await refusal(fromSecret({ uri: 'postgres://agent:s3cret@db:port/d' }));
    expect(message).toBe('Secret db, key uri: port must be a number from 1 to 65535');
    expect(message).not.toContain('s3cret');
  });
});

describe('TLS of a mounted Secret', () => {
  const uri = 'postgresql://agent:s3cret@db/smartem';
  const caAt = (directory: string) => ({ directory, secretName: 'db-ca', key: 'root.pem' });

  test('is verify-full with the CA that the policy names', async () => {
    const directory = await secret('database', { uri });
    const ca = caAt(await secret('ca', { 'ca.crt': pem }));
    expect((await configFromSecret({ directory, secretName: 'db', ca })).tls).toEqual({
      mode: 'verify-full',
      ca: expect.stringContaining('BEGIN CERTIFICATE'),
    });
  });

  test('is the policy’s mode, whatever the uri says', async () => {
    const directory = await secret('database', { uri: `${uri}?sslmode=disable` });
    expect((await configFromSecret({ directory, secretName: 'db', tlsMode: 'verify-full' })).tls).toEqual({
      mode: 'verify-full',
    });
  });

  test.each([
    ['not there', undefined, 'Secret db-ca (spec.database.tls.caSecretRef) does not exist or has no key root.pem'],
    ['without the key', {}, 'Secret db-ca (spec.database.tls.caSecretRef) does not exist or has no key root.pem'],
    ['no certificate', { 'ca.crt': 'TOP' }, 'Secret db-ca, key root.pem: no PEM certificate'],
    ['empty', { 'ca.crt': '' }, 'Secret db-ca, key root.pem: no PEM certificate'],
  ])('with a CA Secret that is %s is refused', async (_what, keys, sentence) => {
    const directory = await secret('database', { uri });
    const ca = caAt(keys === undefined ? join(folder, 'none') : await secret('ca', keys));
    expect(await refusal(configFromSecret({ directory, secretName: 'db', ca }))).toContain(sentence);
  });
});

describe('what a Secret has beside its URI', () => {
  const uri = 'postgresql://agent:s3cret@db/smartem';

  test.each([
    [{ uri, sslmode: 'verify-full' }, { tls: { mode: 'verify-full' } }],
    [{ uri: `${uri}?sslmode=require`, sslmode: 'verify-full' }, { tls: { mode: 'verify-full' } }],
    [{ uri: `${uri}?sslmode=verify-full`, sslmode: 'disable' }, { tls: { mode: 'verify-full' } }],
    [{ uri: `${uri}?sslmode=require`, 'ca.crt': pem }, { tls: { mode: 'verify-ca', ca: pem.trimEnd() } }],
    [{ uri, sslrootcert: 'system' }, { tls: { mode: 'verify-full', ca: 'system' } }],
    [{ uri, channel_binding: 'require' }, { channelBinding: 'require' }],
  ])('%j counts', async (keys, config) => {
    expect(await fromSecret(keys)).toMatchObject(config);
  });

  test.each([
    [{ uri: `${uri}?sslrootcert=/etc/s3cret` }, 'sslrootcert names a file, which a Pod does not have'],
    [{ uri: `${uri}?sslkey=/etc/s3cret` }, 'sslkey names a file, which a Pod does not have'],
    [{ uri, sslrootcert: '/etc/s3cret' }, 'Secret db, key sslrootcert: no PEM certificate'],
    [{ uri: `${uri}?sslrootcert=system`, 'ca.crt': pem }, 'are different CAs'],
    [{ uri, 'tls.crt': pem }, 'Secret db, key tls.crt is given alone'],
  ])('%j is refused, since it would not be used', async (keys, sentence) => {
    const message = await refusal(fromSecret(keys));
    expect(message).toContain(sentence);
    expect(message).not.toContain('s3cret');
  });
});

describe('no message has anything of a Secret:', () => {
  /** Each part is a secret of its own, so that a search finds any. */
  const mark = 'SkLive';
  const single = Object.fromEntries(
    ['host', 'port', 'dbname', 'user', 'password', 'jwt_SkLive_key'].map((key) => [key, `${mark}${key}`]),
  );
  const whole = { ...single, host: 'db', port: '5432' };
  const uris = [
    `postgresql://${mark}1:${mark}2@${mark}3:${mark}4/${mark}5`,
    `mysql://${mark}1:${mark}2@${mark}3/${mark}5`,
    `postgresql://${mark}1`,
    `postgresql://:${mark}2@${mark}3/${mark}5`,
    `postgresql://${mark}1:%zz${mark}2@${mark}3/${mark}5`,
    `postgresql://${mark}1:1?${mark}2@${mark}3/${mark}5`,
    `postgresql://${mark}1:1?${mark}2`,
    `postgresql://u:p@[${mark}/d`,
    `postgresql://u:p@${mark} ${mark}/d`,
    ...[mark, 'sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'channel_binding', 'require_auth', 'options'].map(
      (name) => `postgresql://u:p@h/d?${name}=${mark}`,
    ),
    ...['target_session_attrs', 'connect_timeout', 'port', 'passfile', 'password', 'host'].map(
      (name) => `postgresql://u:p@h/d?${name}=${mark}%20x`,
    ),
  ];
  const names = ['sslmode', 'sslrootcert', 'ca.crt', 'tls.crt', 'tls.key', 'channel_binding', 'require_auth'];
  const forms: Record<string, string>[] = [
    { [`${mark}key`]: `${mark}value` },
    ...Object.keys(single)
      .map((missing) => ({ ...whole, [missing]: '' }))
      .slice(0, 5),
    single,
    ...[...names, 'options', 'target_session_attrs', 'connect_timeout'].map((name) => ({ ...whole, [name]: mark })),
    { ...whole, 'tls.crt': mark, 'tls.key': mark },
    ...uris.map((uri) => ({ uri })),
  ];
  test.each(forms.filter((form) => form.port !== ''))('%j', async (keys) => {
    const error = await fromSecret(keys).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(inspect(error, { depth: 9 }).replaceAll(/^ {4}at .*$/gm, '')).not.toContain(mark);
    expect((error as Error).message).toMatch(/^Secret db/);
  });
});

describe('the command line', () => {
  const uri = 'postgresql://agent:s3cret@db:5433/smartem';

  test('takes --database-url and leaves the PG* variables aside', async () => {
    expect(await configFromCommandLine(uri, { PGHOST: 'other', PGUSER: 'other', PGPASSWORD: 'x' })).toEqual({
      ...expected,
      source: '--database-url',
      connectTimeoutMs: 10_000,
      tls: { mode: 'require' },
    });
  });

  test('takes the PG* variables that psql knows', async () => {
    const env = { PGHOST: 'db', PGPORT: '5433', PGDATABASE: 'smartem', PGUSER: 'agent', PGPASSWORD: 's3cret' };
    expect(await configFromCommandLine(undefined, { ...env, PGSSLMODE: 'disable' })).toMatchObject({
      ...expected,
      tls: { mode: 'disable' },
    });
    const { PGDATABASE: _database, PGPORT: _port, ...fewer } = env;
    expect(await configFromCommandLine(undefined, fewer)).toMatchObject({
      database: 'agent',
      servers: [{ port: 5432 }],
    });
  });

  test('has psql’s defaults: a server of this machine, the user of this process, the database of that name', async () => {
    const user = userInfo().username;
    const config = await configFromCommandLine(undefined, { PGHOST: '', PGPORT: '54329', PGUSER: '', PGDATABASE: '' });
    expect(config).toMatchObject({ servers: [{ host: 'localhost', port: 54_329 }], user, database: user });
    expect(config.password).toBeUndefined();
  });

  test('finds the socket of this machine’s server', async () => {
    const port = 54_330;
    const socket = join('/tmp', `.s.PGSQL.${port}`);
    await writeFile(socket, '');
    onTestFinished(() => rm(socket));
    expect(await configFromCommandLine(undefined, { PGPORT: String(port), PGUSER: 'u' })).toMatchObject({
      servers: [{ host: '/tmp' }],
      tls: { mode: 'disable' },
    });
  });

  test.each(['PGSERVICE', 'PGHOSTADDR'])(
    'refuses %s, which would name another server, where no URI is given',
    async (name) => {
      const env = { PGHOST: 'db', PGUSER: 'u', [name]: 'x' };
      expect(await refusal(configFromCommandLine(undefined, env))).toMatch(
        new RegExp(`^${name} is set, and not read here`),
      );
      expect(await configFromCommandLine(uri, env)).toMatchObject(expected);
    },
  );

  test('takes what a URI leaves out from the variables, as psql does', async () => {
    const env = { PGPASSWORD: 's3cret', PGSSLMODE: 'disable', PGCONNECT_TIMEOUT: '3', PGDATABASE: 'other' };
    expect(await configFromCommandLine('postgresql://agent@db:5433/smartem', env)).toMatchObject({
      ...expected,
      connectTimeoutMs: 3_000,
      tls: { mode: 'disable' },
    });
    expect(await configFromCommandLine(`${uri}?sslmode=require&connect_timeout=4`, env)).toMatchObject({
      connectTimeoutMs: 4_000,
      tls: { mode: 'require' },
    });
  });

  test('refuses a PGPORT and a PGSSLMODE that are none', async () => {
    const env = { PGHOST: 'db', PGUSER: 'u', PGDATABASE: 'd' };
    expect(await refusal(configFromCommandLine(undefined, { ...env, PGPORT: 'x' }))).toBe(
      'PGPORT must be a number from 1 to 65535 (given: "x")',
    );
    expect(await refusal(configFromCommandLine(undefined, { ...env, PGHOST: 'a b' }))).toMatch(
      /^PGHOST must be a name/,
    );
    expect(await refusal(configFromCommandLine(undefined, { ...env, PGCONNECT_TIMEOUT: '0' }))).toBe(
      'PGCONNECT_TIMEOUT must be a number of seconds from 1 to 99999 (given: "0")',
    );
    expect(await refusal(configFromCommandLine(undefined, { ...env, PGSSLMODE: 'prefer' }))).toMatch(
      /^PGSSLMODE must be one of disable, .* \(given: "prefer"\)$/,
    );
  });

  test('reads the CA from sslrootcert or PGSSLROOTCERT, and names a file that it cannot read', async () => {
    const file = join(folder, 'ca.crt');
    await writeFile(file, pem);
    expect((await configFromCommandLine(`${uri}?sslrootcert=${file}`, {})).tls).toEqual({
      mode: 'verify-full',
      ca: pem,
    });
    expect((await configFromCommandLine(uri, { PGSSLROOTCERT: file })).tls).toEqual({ mode: 'verify-full', ca: pem });
    expect(await refusal(configFromCommandLine(`${uri}?sslrootcert=${folder}/none`, {}))).toBe(
      `--database-url: sslrootcert: the file ${folder}/none cannot be read`,
    );
  });

  test('refuses a CA beside disable, but not for a socket', async () => {
    const file = join(folder, 'ca.crt');
    await writeFile(file, pem);
    expect(await refusal(configFromCommandLine(`${uri}?sslmode=disable`, { PGSSLROOTCERT: file }))).toBe(
      `PGSSLROOTCERT: ${file} is given, and sslmode disable never looks at a CA: leave one of them out`,
    );
    const socket = 'postgresql://agent@/smartem?host=/tmp&sslmode=disable';
    expect((await configFromCommandLine(socket, { PGSSLROOTCERT: file })).tls).toEqual({ mode: 'disable' });
  });

  test('takes the other parameters from URI and variables', async () => {
    const env = { PGCHANNELBINDING: 'require', PGREQUIREAUTH: 'scram-sha-256', PGOPTIONS: '-c search_path=a' };
    expect(await configFromCommandLine(`${uri}?target_session_attrs=read-write`, env)).toMatchObject({
      channelBinding: 'require',
      requireAuth: { methods: ['scram-sha-256'] },
      options: '-c search_path=a',
      targetSession: 'read-write',
    });
    expect(await refusal(configFromCommandLine(uri, { PGOPTIONS: '-c row_security=on' }))).toMatch(
      /^PGOPTIONS must be/,
    );
  });
});
