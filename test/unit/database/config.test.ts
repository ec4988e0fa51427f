import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ConfigurationError,
  type DatabaseLocation,
  parseDatabaseUri,
  resolveTls,
} from '../../../src/database/config.ts';

const source = 'Secret db, key uri';
const parse = (uri: string) => parseDatabaseUri(uri, source);

/** The message of the ConfigurationError that a call ends in. */
function refusal(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as Error).message;
  }
  throw new Error('was not refused');
}

describe('a URI', () => {
  test('with everything in it', () => {
    expect(
      parse(
        'postgresql://agent:s3cret@db.example:6432/smartem?sslmode=verify-full&sslrootcert=/ca.crt&connect_timeout=7',
      ),
    ).toEqual({
      host: 'db.example',
      port: 6432,
      database: 'smartem',
      user: 'agent',
      password: 's3cret',
      connectTimeoutMs: 7_000,
      sslmode: 'verify-full',
      sslrootcert: '/ca.crt',
    });
  });

  test('needs no more than a user', () => {
    expect(parse('postgres://agent@')).toMatchObject({
      host: 'localhost',
      port: 5432,
      database: 'agent',
      user: 'agent',
    });
    expect(parse('postgres://agent@db')).toMatchObject({ host: 'db', database: 'agent', password: undefined });
    expect(parse('postgres://agent@db/')).toMatchObject({ database: 'agent' });
  });

  test('takes any user, password and database, percent-encoded', () => {
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).filter((value) => value.isWellFormed());
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent);
        expect(parse(`postgresql://${u}:${p}@db:5433/${d}`)).toMatchObject({
          user,
          password,
          database,
          host: 'db',
          port: 5433,
        });
      }),
    );
  });

  test.each([
    ['postgres://a:b@[::1]:5433/d', '::1', 5433],
    ['postgres://a:b@[fd00::12:34]/d', 'fd00::12:34', 5432],
    ['postgres://a:b@10.0.0.1/d', '10.0.0.1', 5432],
    ['postgres://a:b@%2Fvar%2Frun%2Fpostgresql/d', '/var/run/postgresql', 5432],
    ['postgres://a:b@/d?host=/var/run/postgresql', '/var/run/postgresql', 5432],
    ['postgres://a:b@/d?host=%2Fvar%2Frun%2Fpostgresql', '/var/run/postgresql', 5432],
    ['postgres://a:p,w@db/d', 'db', 5432],
    ['postgres://a:b@db.ns.svc.cluster.local:5432/d?application_name=x', 'db.ns.svc.cluster.local', 5432],
  ])('%s names host %s', (uri, host, port) => {
    expect(parse(uri)).toMatchObject({ host, port, user: 'a', database: 'd' });
  });
});

describe('a URI that is refused', () => {
  const refused: [uri: string, sentence: RegExp][] = [
    ['mysql://agent:s3cret@db/d', /not a PostgreSQL URI: it must start with postgresql:\/\/ or postgres:\/\//],
    ['host=db user=agent password=s3cret', /not a PostgreSQL URI/],
    ['', /not a PostgreSQL URI/],
    ['postgres://agent:s3cret@one,two/d', /names several hosts; name one/],
    ['postgres://agent:s3cret@one:5432,two:5433/d', /names several hosts; name one/],
    ['postgres://agent:s3cret@/d?host=one,two', /names several hosts; name one/],
    ['postgres://agent:s3cret@db:port/d', /not a valid URI: expected postgresql:\/\/user:password@host:5432\/dbname/],
    ['postgres://agent:s3cret@db:99999/d', /port must be a number from 1 to 65535 \(given: "99999"\)/],
    ['postgres://agent:s3cret@db:0/d', /port must be a number from 1 to 65535 \(given: "0"\)/],
    ['postgres://agent:s3cret@[::1]:65536/d', /port must be a number from 1 to 65535 \(given: "65536"\)/],
    ['postgres://agent:s3cret#1@db/d', /has an @ behind/],
    ['postgres://agent:s3cret%zz@db/d', /a percent sign that encodes nothing; write %25/],
    ['postgres://agent:ab?s3cret@db/d', /has an @ behind a \/, \? or #; percent-encode/],
    ['postgres://agent:12?s3cret@db/d', /has an @ behind/],
    ['postgres://agent:a@b?s3cret@db/d', /has an @ behind/],
    ['postgres://agent:12/s3cret@db/d', /has an @ behind/],
    ['postgres://db/d', /user is missing/],
    ['postgres://:s3cret@db/d', /user is missing/],
    ['postgres://agent:s3cret@db/d?options=-c%20x', /parameter "options" is not supported; supported are sslmode/],
    ['postgres://agent:s3cret@db/d?target_session_attrs=read-write', /"target_session_attrs" is not supported/],
    ['postgres://agent:s3cret@db/d?password=s3cret', /"password" is not supported/],
    ['postgres://agent:s3cret@db/d?SSLMODE=require', /"SSLMODE" is not supported/],
    [
      'postgres://agent:s3cret@db/d?connect_timeout=soon',
      /connect_timeout must be a number of seconds from 1 to 99999 \(given: "soon"\)/,
    ],
    ['postgres://agent:s3cret@db/d?connect_timeout=0', /connect_timeout must be .* from 1 to 99999 \(given: "0"\)/],
    ['postgres://agent:s3cret@db/d?connect_timeout=-1', /connect_timeout must be a number of seconds/],
  ];
  test.each(refused)('%s', (uri, sentence) => {
    const message = refusal(() => parse(uri));
    expect(message).toMatch(sentence);
    expect(message).toMatch(/^Secret db, key uri: /);
    expect(message).not.toContain('s3cret');
  });

  test('for its port, without showing what may be a password whose host is missing', () => {
    expect(refusal(() => parse('postgres://agent:7654321'))).not.toContain('7654321');
  });

  test('whatever is wrong with it, no error has a piece of the password', () => {
    const secret = 'Zq7Wx9Kv';
    fc.assert(
      fc.property(
        fc.string({ maxLength: 12 }),
        fc.string({ maxLength: 12 }),
        fc.string({ maxLength: 25 }),
        (a, b, rest) => {
          try {
            parse(`postgres://agent:${a}${secret}${b}@db${rest}`);
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigurationError);
            if (!rest.includes(secret)) expect(String((error as Error).stack)).not.toContain(secret);
            expect(String((error as Error).cause)).not.toContain(secret);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('the TLS mode', () => {
  const location: DatabaseLocation = { host: 'db', port: 5432, database: 'd', user: 'u' };
  const modes = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
  const ca = 'PEM';

  test.each(modes.flatMap((policy) => [undefined, ...modes, 'prefer'].map((sslmode) => [policy, sslmode] as const)))(
    'is the policy’s: %s, with sslmode %s in the URI',
    (policy, sslmode) => {
      expect(resolveTls({ ...location, sslmode }, source, policy)).toEqual({ mode: policy });
      expect(resolveTls({ ...location, sslmode }, source, policy, ca)).toEqual({ mode: policy, ca });
    },
  );

  test.each(modes)('is else the URI’s sslmode: %s', (sslmode) => {
    expect(resolveTls({ ...location, sslmode }, source)).toEqual({ mode: sslmode });
    expect(resolveTls({ ...location, sslmode }, source, undefined, ca)).toEqual({ mode: sslmode, ca });
  });

  test('is else verify-full with a CA, and require without', () => {
    expect(resolveTls(location, source, undefined, ca)).toEqual({ mode: 'verify-full', ca });
    expect(resolveTls(location, source)).toEqual({ mode: 'require' });
  });

  test.each(['prefer', 'allow', 'VERIFY-FULL', 'no-verify', ''])('is never a sslmode %j', (sslmode) => {
    const message = refusal(() => resolveTls({ ...location, sslmode }, source));
    expect(message).toContain(`Secret db, key uri: sslmode "${sslmode}" is not supported`);
    expect(message).toContain('use one of disable, require, verify-ca, verify-full');
  });

  test('is disable on a unix socket, which is never encrypted', () => {
    expect(resolveTls({ ...location, host: '/var/run/postgresql' }, source, 'verify-full', ca)).toEqual({
      mode: 'disable',
    });
  });
});
