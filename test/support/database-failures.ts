import { createCertificateAuthority } from './pki.ts';
import { type Login, uriOf } from './postgres/run-database.ts';
import { freePort } from './processes.ts';

/** What is wrong with a database or its Secrets, the words that name it and say what to do, and what the Pod exits with. */
export interface DatabaseFailure {
  name: string;
  words: RegExp;
  exitCode: number;
  /** The database's Secret as it is wrong, by its right keys; undefined for none. The right one if left out. */
  secret?: (right: Login) => Promise<object | undefined> | object | undefined;
  /** The Secret with the CA as it is wrong; undefined for none. The right one if left out. */
  caSecret?: () => Promise<object | undefined>;
  /** SQL that breaks the database, and the one that repairs it. */
  sql?: { breaks: string; repairs: string };
}

export const databaseFailures: DatabaseFailure[] = [
  {
    name: 'wrong-password',
    secret: (right) => ({ uri: uriOf({ ...right, password: 'not-it' }) }),
    words:
      /the server in Secret wrong-password-db, key uri refused the login of the user; check user and password there/,
    exitCode: 1,
  },
  {
    name: 'nothing-listens',
    secret: async (right) => ({ ...right, port: String(await freePort()) }),
    words: /nothing answers at the server in Secret nothing-listens-db; .*are host and port there right\?/,
    exitCode: 1,
  },
  {
    name: 'unknown-database',
    secret: (right) => ({ uri: uriOf({ ...right, dbname: 'nowhere' }) }),
    words: /the server in Secret unknown-database-db, key uri has no database of that name; check the name there/,
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
    words: /Secret missing-key-db has no key uri and lacks password; it must have uri, or host/,
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
    words:
      /the certificate of the server in Secret wrong-host-db is for other names than its host; connect by a name it holds/,
    exitCode: 1,
  },
];
