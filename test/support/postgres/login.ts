import { randomBytes } from 'node:crypto';
import { expect, inject } from 'vitest';
import type { TestDatabase } from './database.ts';
import { withClient } from './server.ts';

/** Stands in every form of the password: as it is, in a URI, in JSON. */
const mark = 'Xq7zSecret';

/** A role that logs in with a password full of special characters. */
export interface Login {
  user: string;
  password: string;
  /** The database's URI for this role. */
  url: string;
  drop(): Promise<void>;
}

/** Makes a role that may do everything in the test's database. */
export async function createLogin(database: TestDatabase): Promise<Login> {
  const user = `retention_${randomBytes(4).toString('hex')}`;
  const password = `p@/:?#%&=+ "'\\{${mark}}é`;
  const { adminUrl } = inject('postgres');
  await withClient(adminUrl, (admin) =>
    admin.query(
      `create role ${admin.escapeIdentifier(user)} superuser login password ${admin.escapeLiteral(password)}`,
    ),
  );
  const url = new URL(database.url);
  url.username = user;
  url.password = encodeURIComponent(password);
  url.searchParams.set('sslmode', 'disable');
  return {
    user,
    password,
    url: url.href,
    drop: () =>
      withClient(adminUrl, async (admin) => {
        await admin.query(`drop role ${admin.escapeIdentifier(user)}`);
      }),
  };
}

/** Fails where a text holds the password of a `Login`, in any form. */
export function expectNoSecret(...texts: string[]): void {
  for (const text of texts) expect(text).not.toContain(mark);
}
