import { describe, expect, test } from 'vitest';
import {
  parseChannelBinding,
  parseOptions,
  parseRequireAuth,
  parseSslmode,
  parseTargetSession,
} from '../../../src/database/parameters.ts';

const said = (value: string, shown = false) => ({ value, where: 'Secret db, key x', shown });

describe('options', () => {
  test.each([
    '-c search_path=app',
    '-csearch_path=app,public --statement-timeout=5min',
    'endpoint=ep-cool-name-123456',
    'project=name -c lock_timeout=1s',
  ])('%s go to the server', (options) => {
    expect(parseOptions(said(options))).toBe(options);
  });

  test.each([
    '-c row_security=on',
    '-crow_security=on',
    '--row-security=on',
    '-c search_path=a -c session_replication_role=replica',
    '-c search_path=a\\\\ -csession_replication_role=replica',
    '-c SESSION_REPLICATION_ROLE=replica',
    '-c role=postgres',
    '-c synchronous_commit=off',
    '-d 5',
    's3cret',
  ])('%s are refused without being shown', (options) => {
    expect(() => parseOptions(said(options))).toThrow(
      /^Secret db, key x must be -c with search_path, [^=]*=… or project=…$/,
    );
  });
});

describe('require_auth', () => {
  test('lists methods, or excludes some', () => {
    expect(parseRequireAuth(said('password'))).toEqual({ named: true, methods: ['password'] });
    expect(parseRequireAuth(said('md5,scram-sha-256'))).toEqual({ named: true, methods: ['md5', 'scram-sha-256'] });
    expect(parseRequireAuth(said('!md5,!none'))).toEqual({ named: false, methods: ['password', 'scram-sha-256'] });
  });

  test.each(['gss', 'password,!md5', '', 's3cret'])('%j is refused', (value) => {
    expect(() => parseRequireAuth(said(value))).toThrow(
      /^Secret db, key x must be a list of password, md5, scram-sha-256, none, or of these with a ! before each$/,
    );
  });
});

describe('a word that is none of those allowed is refused, and shown only where it was typed', () => {
  test.each([
    [parseSslmode, 'prefer', /one of disable, require, verify-ca, verify-full, since others may fall back/],
    [parseSslmode, 'VERIFY-FULL', /one of disable/],
    [parseSslmode, '', /one of disable/],
    [parseChannelBinding, 'yes', /one of disable, prefer, require/],
    [parseTargetSession, 'standby', /one of any, read-write, primary/],
  ] as const)('%o %j', (parse, word, sentence) => {
    expect(() => parse(said(word))).toThrow(sentence);
    expect(() => parse(said(word))).not.toThrow(/given/);
    expect(() => parse(said(word, true))).toThrow(`(given: "${word}")`);
  });
});
