import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigurationError } from '../../../src/database/config.ts';
import { parseDatabaseUri } from '../../../src/database/uri.ts';

const source = 'Secret db, key uri';
const uriParts = (uri: string) => parseDatabaseUri(uri, source);
/** The location, with the first server's host and port beside it. */
const parse = (uri: string) => {
  const { location } = uriParts(uri);
  return { ...location, ...location.servers[0]! };
};

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
    const { location, parameter } = uriParts(
      'postgresql://agent:s3cret@db.example:6432/smartem?sslmode=verify-full&sslrootcert=%2Fca.crt',
    );
    expect(location).toEqual({
      servers: [{ host: 'db.example', port: 6432 }],
      database: 'smartem',
      user: 'agent',
      password: 's3cret',
    });
    expect(parameter('sslmode')).toEqual({ value: 'verify-full', where: `${source}: sslmode` });
    expect(parameter('sslrootcert')).toEqual({ value: '/ca.crt', where: `${source}: sslrootcert` });
    expect(parameter('options')).toBeUndefined();
  });

  test.each([
    ['postgres://a:p,w@one,two:5433,[::1]:5434/d', ['one:5432', 'two:5433', '::1:5434']],
    ['postgres://a:b@/d?host=one,two&port=5433', ['one:5433', 'two:5433']],
    ['postgres://a:b@/d?host=one,two&port=5433,5434', ['one:5433', 'two:5434']],
    ['postgres://a:b@db:7/d?port=8', ['db:8']],
  ])('%s names several servers', (uri, servers) => {
    expect(uriParts(uri).location.servers.map(({ host, port }) => `${host}:${port}`)).toEqual(servers);
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
    ['postgres://agent:s3cret@one two/d', /host must be a name, an address or a socket's folder$/],
    ['postgres://agent:s3cret@one,two/d?port=1,2,3', /port must be one number, or as many as there are hosts$/],
    ['postgres://agent:s3cret@db:port/d', /port must be a number from 1 to 65535$/],
    ['postgres://agent:s3cret@[db/d', /not a valid URI: expected postgresql:\/\/user:password@host:5432\/dbname/],
    ['postgres://agent:s3cret@db:99999/d', /port must be a number from 1 to 65535$/],
    ['postgres://agent:s3cret@db:0/d', /port must be a number from 1 to 65535$/],
    ['postgres://agent:s3cret@[::1]:65536/d', /port must be a number from 1 to 65535$/],
    ['postgres://agent:s3cret#1@db/d', /has an @ behind/],
    ['postgres://agent:s3cret%zz@db/d', /a percent sign that encodes nothing; write %25/],
    ['postgres://agent:ab?s3cret@db/d', /has an @ behind a \/, \? or #; percent-encode/],
    ['postgres://agent:12?s3cret@db/d', /has an @ behind/],
    ['postgres://agent:a@b?s3cret@db/d', /has an @ behind/],
    ['postgres://agent:12/s3cret@db/d', /has an @ behind/],
    ['postgres://db/d', /user is missing/],
    ['postgres://:s3cret@db/d', /user is missing/],
    ['postgres://agent:s3cret@db/d?passfile=x', /URI parameter "passfile" is not supported; supported are sslmode/],
    ['postgres://agent:s3cret@db/d?password=s3cret', /"password" is not supported/],
    ['postgres://agent:s3cret@db/d?SSLMODE=require', /: has a URI parameter that is not supported/],
    ['postgres://agent:1?s3cret', /: has a URI parameter that is not supported/],
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
