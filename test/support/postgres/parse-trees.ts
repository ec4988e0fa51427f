import type pg from 'pg';
import type { RunOptions } from '../../../src/retention/options.ts';

/** A statement as PostgreSQL has understood it. */
export interface Parsed {
  sql: string;
  tree: string;
}

/** Wraps a connector: each statement's parse tree, as the server prints it, is kept in `parsed`. */
export function parsing(connect: RunOptions['connect'], parsed: Parsed[]): RunOptions['connect'] {
  return async (abandon) => {
    const client = await connect(abandon);
    await client.query('set client_min_messages to log; set debug_print_parse to on; set debug_pretty_print to off');
    let sql = '';
    client.on('notice', ({ message, detail }) => {
      // The server breaks its lines anywhere.
      if (message === 'parse tree:') parsed.push({ sql, tree: (detail ?? '').replaceAll(/\s+/g, ' ') });
    });
    const query = client.query.bind(client) as (text: string, values?: unknown[]) => Promise<pg.QueryResult>;
    return Object.assign(client, {
      query(text: string, values?: unknown[]) {
        sql = text;
        return query(text, values);
      },
    });
  };
}

/** A node of a parse tree, from its brace to the one that closes it. */
function nodeAt(tree: string, start: number): string {
  let depth = 0;
  for (let at = start; at < tree.length; at++) {
    // Names in a tree have their braces escaped.
    if (tree[at] === '\\') at++;
    else if (tree[at] === '{') depth++;
    else if (tree[at] === '}' && --depth === 0) return tree.slice(start, at + 1);
  }
  throw new Error(`a parse tree ends within ${tree.slice(start, start + 40)}`);
}

/** The nodes of a kind in a parse tree; before PostgreSQL 16 some have a name without EXPR. */
export function nodesOf(tree: string, kind: string): string[] {
  return [...tree.matchAll(new RegExp(`\\{${kind.replace(/EXPR$/, '(?:EXPR)?')} `, 'g'))].map(({ index }) =>
    nodeAt(tree, index),
  );
}

const oids = (text: string, fields: string) =>
  [...text.matchAll(new RegExp(`:(?:${fields}) (\\d+)`, 'g'))].map(([, oid]) => oid!);

const typeFields =
  'vartype|consttype|paramtype|funcresulttype|opresulttype|casetype|coalescetype|resulttype|aggtype|array_typeid';

/** The type that a node has, by its oid. */
function typeOf(node: string): string {
  let own = node;
  for (let at = own.indexOf('{', 1); at !== -1; at = own.indexOf('{', 1)) own = own.replace(nodeAt(own, at), '');
  const [type] = oids(own, typeFields);
  // What is compared or looked for is a boolean.
  if (type === undefined && !/^\{(BOOLEXPR|NULLTEST|SCALARARRAYOPEXPR)/.test(node))
    throw new Error(`the type of ${own} is not known`);
  return type ?? '16';
}

/** Names of the functions that are not immutable in a part of a parse tree: called, behind operators, and for casts by text. */
export async function notImmutable(client: Pick<pg.ClientBase, 'query'>, part: string): Promise<string[]> {
  const casts = nodesOf(part, 'COERCEVIAIO');
  const from = casts.map((cast) => typeOf(nodeAt(cast, cast.indexOf('{', 1))));
  const { rows } = await client.query<{ name: string }>(
    `select p.oid::regprocedure::text as name
       from pg_proc p
      where p.provolatile <> 'i'
        and (p.oid = any($1::oid[])
             or exists (select from pg_type y where y.oid = any($2::oid[]) and p.oid = y.typoutput)
             or exists (select from pg_type y where y.oid = any($3::oid[]) and p.oid = y.typinput))`,
    [oids(part, 'funcid|opfuncid|aggfnoid'), from, casts.map(typeOf)],
  );
  return rows.map(({ name }) => name);
}
