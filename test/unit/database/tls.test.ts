import { describe, expect, test } from 'vitest';
import { ConfigurationError, type TlsMode } from '../../../src/database/config.ts';
import { resolveTls } from '../../../src/database/tls.ts';

const servers = [{ host: 'db', port: 5432 }];
const byStrength = ['disable', 'require', 'verify-ca', 'verify-full'] as const;
const ca = { text: 'PEM', where: 'Secret ca, key ca.crt' };
const resolve = (modes: (TlsMode | undefined)[], ...cas: { text: string; where: string }[]) =>
  resolveTls({ servers, modes, ca: cas });

describe('the TLS mode', () => {
  test.each(byStrength.flatMap((policy) => byStrength.map((said) => [policy, said] as const)))(
    'is the stricter of the policy’s %s and the Secret’s %s, in either order',
    (policy, said) => {
      const stricter = byStrength[Math.max(byStrength.indexOf(policy), byStrength.indexOf(said))]!;
      expect(resolve([policy, said])).toEqual({ mode: stricter });
      expect(resolve([policy, undefined, said])).toEqual({ mode: stricter });
    },
  );

  test.each(byStrength)('is what the one says that says something: %s', (mode) => {
    expect(resolve([mode, undefined])).toEqual({ mode });
    expect(resolve([undefined, mode])).toEqual({ mode });
  });

  test('is else verify-full with a CA, and require without', () => {
    expect(resolve([undefined], ca)).toEqual({ mode: 'verify-full', ca: 'PEM' });
    expect(resolve([])).toEqual({ mode: 'require' });
  });

  test('is disable on a unix socket, which is never encrypted', () => {
    const socket = [{ host: '/var/run/postgresql', port: 5432 }];
    expect(resolveTls({ servers: socket, modes: ['verify-full'], ca: [ca] })).toEqual({ mode: 'disable' });
  });
});

describe('a CA that is given', () => {
  test('is looked at: require becomes verify-ca, as in libpq', () => {
    expect(resolve(['require'], ca)).toEqual({ mode: 'verify-ca', ca: 'PEM' });
    expect(resolve(['verify-ca'], ca)).toEqual({ mode: 'verify-ca', ca: 'PEM' });
    expect(resolve(['require', 'verify-full'], ca)).toEqual({ mode: 'verify-full', ca: 'PEM' });
  });

  test('is refused beside disable, and beside another CA', () => {
    expect(() => resolve(['disable'], ca)).toThrow(ConfigurationError);
    expect(() => resolve(['disable'], ca)).toThrow(/^Secret ca, key ca.crt is given, and sslmode disable never looks/);
    expect(() => resolve([], ca, { text: 'OTHER', where: 'Secret db, key ca.crt' })).toThrow(
      /^Secret ca, key ca.crt and Secret db, key ca.crt are different CAs/,
    );
    expect(resolve([], ca, { ...ca, text: 'PEM\n' })).toEqual({ mode: 'verify-full', ca: 'PEM' });
  });

  test('as system goes with verify-full alone', () => {
    const system = { text: 'system', where: '--database-url: sslrootcert' };
    expect(resolve([], system)).toEqual({ mode: 'verify-full', ca: 'system' });
    for (const mode of ['require', 'verify-ca'] as const) {
      expect(() => resolve([mode], system)).toThrow(/sslrootcert: with system, sslmode must be verify-full/);
    }
  });
});

describe('a client certificate', () => {
  const cert = { text: '-----BEGIN CERTIFICATE-----', where: 'Secret db, key tls.crt' };
  const key = { text: 'k3y', where: 'Secret db, key tls.key' };

  test('needs its key, and TLS, and has to be one', () => {
    const refused = (words: object) => () => resolveTls({ servers, modes: ['require'], ca: [], ...words });
    expect(refused({ cert })).toThrow(/^Secret db, key tls.crt is given alone/);
    expect(refused({ key })).toThrow(/^Secret db, key tls.key is given alone/);
    expect(refused({ cert, key, modes: ['disable'] })).toThrow(/sslmode disable sends no certificate/);
    expect(refused({ cert, key })).toThrow(
      /^Secret db, key tls.crt and Secret db, key tls.key must be a certificate and its private key in PEM, [a-z ]*$/,
    );
  });
});
