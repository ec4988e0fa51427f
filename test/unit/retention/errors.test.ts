import { DatabaseError } from 'pg';
import { describe, expect, test } from 'vitest';
import { explainSqlError } from '../../../src/retention/errors.ts';

// What a server says in other languages than the tests' own; codes, routines and names stay as they are.
function said(message: string, fields: Partial<DatabaseError>): string {
  return explainSqlError(Object.assign(new DatabaseError(message, message.length, 'error'), fields));
}

describe('an error of PostgreSQL in another language', () => {
  test('that is a missing privilege on a table of the policy asks for `retention grants`', () => {
    const fields = { code: '42501', routine: 'aclcheck_error' };
    expect(said('keine Berechtigung für Tabelle agentsession', fields)).toMatch(/`retention grants` prints/);
    expect(said('droit refusé pour la table journal', fields)).not.toMatch(/`retention grants` prints what/);
  });

  test('that comes from a function names it', () => {
    const where =
      'SQL-Anweisung »insert into log(x) values (1)«\nPL/pgSQL-Funktion app.audit() Zeile 1 bei SQL-Anweisung';
    const fields = { code: '42501', routine: 'aclcheck_error', where };
    expect(said('keine Berechtigung für Tabelle agentsession', fields)).toMatch(/function app\.audit\(\)/);
  });

  test('that is row-level security is known by its routine', () => {
    const fields = { code: '42501', routine: 'check_enable_rls' };
    expect(said('Anfrage würde von Policys beeinflusst', fields)).toMatch(/bypassrls/);
  });

  test('that cancels a statement says both reasons, since nothing tells them apart', () => {
    const sentence = said('storniere Anfrage', { code: '57014', routine: 'ProcessInterrupts' });
    expect(sentence).toMatch(/limits\.statementTimeout.*another user or process/);
  });

  test('that is a conflict with replay on a standby says so', () => {
    const fields = { code: '40001', routine: 'ProcessRecoveryConflictInterrupt' };
    expect(said('storniere Anfrage wegen Konflikt mit der Wiederherstellung', fields)).toMatch(/standby/);
    expect(said('could not serialize access', { code: '40001', routine: 'ExecUpdate' })).not.toMatch(/standby/);
  });

  test('names column and table where PostgreSQL says them beside the message', () => {
    const fields = { code: '23502', table: 'agentconnection', column: 'close_reason' };
    expect(said('Wert verletzt Not-Null-Constraint', fields)).toBe(
      'Wert verletzt Not-Null-Constraint (table "agentconnection", column "close_reason")',
    );
    expect(said('null value in column "close_reason" of relation "agentconnection"', fields)).toBe(
      'null value in column "close_reason" of relation "agentconnection"',
    );
  });
});

test('what is no error of PostgreSQL keeps its words', () => {
  expect(explainSqlError(new Error('something else'))).toBe('something else');
});
