import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { plainScalar, type Scalar as ScalarValue, taggedScalar } from './yaml-scalar.ts';

/**
 * The documents of a file as kubectl sends them to the API server, empty ones left out. Throws where kubectl refuses
 * the file, and where it might read something else.
 */
export function manifestsIn(text: string): unknown[] {
  return chunksOf(text).flatMap((chunk) => {
    const values = (chunk.trimStart().startsWith('{') && jsonValuesIn(chunk)) || [yamlValueIn(chunk)];
    return values.filter((value) => value !== null);
  });
}

/** kubectl cuts a file at lines that begin with ---, wherever they stand, before it reads any YAML. */
function chunksOf(text: string): string[] {
  const chunks: string[][] = [[]];
  for (const line of text.split(/\r?\n/)) {
    if (!line.startsWith('---')) {
      chunks.at(-1)!.push(`${line}\n`);
      continue;
    }
    if (!/^---\s*(?:#.*)?$/.test(line)) throw new Error(`"${line}": only a comment may stand behind --- in its line`);
    chunks.push([]);
  }
  return chunks.map((lines) => lines.join(''));
}

/** Objects in JSON, one behind the other as jq prints them; undefined where the text is none. */
function jsonValuesIn(text: string): unknown[] | undefined {
  const ends: number[] = [0];
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:\\.|[^"\\])*"|[{}]/g)) {
    if (token === '{') depth++;
    if (token === '}' && --depth === 0) ends.push(index + 1);
  }
  ends[ends.length - 1] = text.length;
  try {
    return ends.slice(1).map((end, index) => JSON.parse(text.slice(ends[index], end)) as unknown);
  } catch {
    return undefined;
  }
}

// Control characters, which kubectl refuses, and what ends a line in YAML 1.1 but not in 1.2.
const unreadable = /[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;

function yamlValueIn(text: string): unknown {
  const [character] = unreadable.exec(text) ?? [];
  if (character !== undefined) {
    throw new Error(`the character ${JSON.stringify(character)} must not stand in it; in quotes it may be escaped`);
  }
  // The library parses, but what a scalar, a key or a merge means is kubectl's to say.
  const options = {
    schema: 'failsafe',
    resolveKnownTags: false,
    merge: false,
    uniqueKeys: false,
    logLevel: 'silent',
  } as const;
  // kubectl reads no further than the first document.
  const [document] = parseAllDocuments(text, options);
  const [error] = document?.errors ?? [];
  if (error !== undefined) throw new Error(error.message.split('\n')[0]);
  if (document !== undefined && 'contents' in document && document.contents !== null) {
    return new YamlReader(document).value(document.contents);
  }
  if (/^\s*[^\s#]/m.test(text))
    throw new Error('there is something before the document, such as a directive (%) or ...');
  return null;
}

/** What the nodes of a document mean to kubectl. */
class YamlReader {
  readonly #targets = new Map<Alias, Node>();
  readonly #open = new Set<Alias>();
  #nodes = 0;
  #nodesOfAliases = 0;

  constructor(document: Document<ParsedNode>) {
    const anchors = new Map<string, Node>();
    visit(document, {
      Node: (_, node) => {
        if (isAlias(node)) this.#targets.set(node, anchors.get(node.source)!);
        else if (node.anchor !== undefined) anchors.set(node.anchor, node);
      },
    });
  }

  value(node: unknown): unknown {
    this.#count();
    if (isAlias(node)) return this.#within(node, (target) => this.value(target));
    if (isMap(node)) return objectOf(this.#entries(node, new Map()));
    if (isSeq(node)) return node.items.map((item) => this.value(item));
    return isScalar(node) ? scalarOf(node).value : null;
  }

  /** Adds a map's entries to others; later ones win, also over merged ones. */
  #entries(map: YAMLMap, entries: Map<Key, unknown>): Map<Key, unknown> {
    for (const { key, value } of map.items) {
      if (isMergeKey(key)) this.#merge(value, entries);
      else entries.set(this.#key(key), this.value(value));
    }
    return entries;
  }

  #merge(node: unknown, entries: Map<Key, unknown>): void {
    if (isSeq(node)) {
      for (const item of node.items.toReversed()) this.#mergeMap(item, entries);
    } else this.#mergeMap(node, entries);
  }

  #mergeMap(node: unknown, entries: Map<Key, unknown>): void {
    this.#count();
    if (isAlias(node)) this.#within(node, (target) => this.#mergeMap(target, entries));
    else if (isMap(node)) this.#entries(node, entries);
    else throw new Error('<< can only take a map or a list of maps');
  }

  #key(node: unknown): Key {
    if (isAlias(node)) return this.#within(node, (target) => this.#key(target));
    const scalar = isScalar(node) ? scalarOf(node) : undefined;
    if (scalar?.type === 'str' || scalar?.type === 'bool') return scalar.value as Key;
    // What kubectl writes for other numbers is not what JavaScript does.
    if (scalar?.type === 'int' && Number.isSafeInteger(scalar.value)) return scalar.value as Key;
    throw new Error(
      `a key must be text, a boolean or a whole number: put ${isScalar(node) ? node.source : 'it'} in quotes`,
    );
  }

  #within<T>(alias: Alias, work: (target: Node) => T): T {
    const target = this.#targets.get(alias);
    if (target === undefined) throw new Error(`the alias *${alias.source} has no anchor before it`);
    if (this.#open.has(alias)) throw new Error(`the anchor &${alias.source} contains itself`);
    this.#open.add(alias);
    const result = work(target);
    this.#open.delete(alias);
    return result;
  }

  /** kubectl's own measure of too many aliases, for all but very large files. */
  #count(): void {
    this.#nodes++;
    if (this.#open.size > 0) this.#nodesOfAliases++;
    if (this.#nodes > 1000 && this.#nodesOfAliases > 0.99 * this.#nodes) throw new Error('it has too many aliases');
  }
}

type Key = string | number | boolean;

function scalarOf(node: Scalar): ScalarValue {
  const text = node.source ?? '';
  if (node.tag !== undefined) return taggedScalar(node.tag, text);
  return node.type === 'PLAIN' ? plainScalar(text) : { type: 'str', value: text };
}

function isMergeKey(node: unknown): boolean {
  if (!isScalar(node) || node.source !== '<<') return false;
  return node.tag === undefined ? node.type === 'PLAIN' : ['!', 'tag:yaml.org,2002:merge'].includes(node.tag);
}

/** An object whose keys are text. */
function objectOf(entries: Map<Key, unknown>): Record<string, unknown> {
  const object = Object.fromEntries([...entries].map(([key, value]) => [String(key), value]));
  // Which of 1 and "1" wins is chance with kubectl.
  if (Object.keys(object).length < entries.size) throw new Error('a map has a key twice, with and without quotes');
  return object;
}
