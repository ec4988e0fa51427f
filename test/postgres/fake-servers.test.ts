import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { configFromCommandLine } from '../../src/database/command-line.ts';
import type { TlsMode } from '../../src/database/config.ts';
import { connect } from '../../src/database/connect.ts';
import { configFromSecret } from '../../src/database/credentials.ts';
import { type Certificate, createCertificateAuthority } from '../support/pki.ts';
import { type FakeServer, type logins, startFakeServer } from '../support/postgres/fake-server.ts';

const password = 'N3verSent';
let folder: string;
let ca: string;
let certificate: Certificate;
let server: FakeServer | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retention-fake-'));
  const authority = await createCertificateAuthority('fake authority');
  certificate = await authority.issueServer('localhost', ['localhost', '127.0.0.1']);
  ca = join(folder, 'ca.crt');
  await writeFile(ca, authority.certificate);
});
afterEach(() => server?.stop());
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Logs in; `connected`, or the error's sentence. */
async function outcome(login: keyof typeof logins, parameters: string, withTls = !parameters.includes('disable')) {
  server = await startFakeServer(login, withTls ? certificate : undefined);
  const uri = `postgresql://agent:${password}@127.0.0.1:${server.port}/d?connect_timeout=5&${parameters}`;
  try {
    await (await connect(await configFromCommandLine(uri, {}), 'retention test')).end();
    return 'connected';
  } catch (error) {
    return (error as Error).message;
  }
}

const inClear =
  /^the login to 127\.0\.0\.1:\d+ was broken off: it asks for the password in clear text, and its identity/;

describe('a password in clear text', () => {
  test.each([
    'sslmode=disable',
    'sslmode=require',
    'sslmode=require&require_auth=!md5',
    'sslmode=require&channel_binding=prefer',
  ])('is not sent under %s', async (parameters) => {
    expect(await outcome('cleartext', parameters)).toMatch(inClear);
    expect(server!.received()).toContain('agent');
    expect(server!.received()).not.toContain(password);
  });

  test('is sent where the server was verified', async () => {
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      expect(await outcome('cleartext', `sslmode=${mode}&sslrootcert=${ca}`)).toBe('connected');
      expect(server!.received()).toContain(password);
      server!.stop();
    }
  });

  test.each(['sslmode=disable', 'sslmode=require'])('is sent under %s where it is allowed by name', async (mode) => {
    expect(await outcome('cleartext', `${mode}&require_auth=password`)).toBe('connected');
    expect(server!.received()).toContain(password);
  });

  test('is not sent to a server of another CA', async () => {
    const other = join(folder, 'other.crt');
    await writeFile(other, (await createCertificateAuthority('another')).certificate);
    expect(await outcome('cleartext', `sslmode=require&sslrootcert=${other}&require_auth=password`)).toMatch(
      /is not signed by the CA that was given/,
    );
    expect(server!.received()).not.toContain(password);
  });
});

describe('a policy cannot weaken what the Secret asks for:', () => {
  test.each<[policy: TlsMode, secret: string, withTls: boolean]>([
    ['disable', 'sslmode=verify-full', false],
    ['disable', 'sslmode=verify-full', true],
    ['require', 'sslmode=verify-ca', true],
    ['disable', 'sslmode=require', false],
  ])('%s beside %s', async (tlsMode, parameters, withTls) => {
    server = await startFakeServer('cleartext', withTls ? certificate : undefined);
    const directory = await mkdtemp(join(folder, 'secret-'));
    const uri = `postgresql://agent:${password}@127.0.0.1:${server.port}/d?${parameters}&require_auth=password`;
    await writeFile(join(directory, 'uri'), uri);
    const config = await configFromSecret({ directory, secretName: 'db', tlsMode });
    await expect(connect(config, 'retention test')).rejects.toThrow(
      /^(connecting to|the certificate of) the server in/,
    );
    expect(server.received()).not.toContain(password);
    expect(server.received()).not.toContain('agent');
  });
});

describe('a login that is not the one asked for is broken off', () => {
  test.each([
    ['md5', 'sslmode=disable&require_auth=scram-sha-256', /asks for the login method md5, which require_auth does not/],
    ['cleartext', 'sslmode=require&require_auth=!password', /the login method password, which require_auth does not/],
    ['nothing', 'sslmode=require&require_auth=scram-sha-256', /the login method none, which require_auth does not/],
    [
      'nothing',
      'sslmode=require&channel_binding=require',
      /it offers no channel binding, and channel_binding is require/,
    ],
    ['scram', 'sslmode=require&channel_binding=require', /it offers no channel binding/],
    ['scram', 'sslmode=disable&channel_binding=require', /channel_binding=require needs TLS, which is disabled/],
    ['md5', 'sslmode=require&channel_binding=require', /it offers no channel binding/],
    ['scram', 'sslmode=require', /it ended the login without the proof that it knows the password/],
  ] as const)('%s under %s', async (login, parameters, sentence) => {
    expect(await outcome(login, parameters)).toMatch(sentence);
    expect(server!.received()).not.toContain(password);
  });

  test('but md5 is answered where nothing is said against it', async () => {
    expect(await outcome('md5', 'sslmode=require')).toBe('connected');
    expect(server!.received()).not.toContain(password);
  });
});
