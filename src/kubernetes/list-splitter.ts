const [quote, backslash, comma] = [...Buffer.from('"\\,')];
const [brace, bracket, endBrace, endBracket] = [...Buffer.from('{[}]')];

/**
 * Hands on the items of a list's JSON one by one while it comes: a page of large objects, which may have hundreds of
 * megabytes, is never in memory as a whole.
 */
export class ListSplitter {
  readonly #onItem: (json: string) => void;
  /** The list without its items, and the item that has begun. */
  readonly #list: Buffer[] = [];
  #item: Buffer[] = [];
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Within the array that is a field of the list, and within an object of that. */
  #inItems = false;
  #inItem = false;

  constructor(onItem: (json: string) => void) {
    this.#onItem = onItem;
  }

  write(chunk: Buffer): void {
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inString = false;
      } else if (byte === quote) {
        this.#inString = true;
      } else if (byte === brace || byte === bracket) {
        if (this.#depth === 2 && this.#inItems && byte === brace) {
          this.#list.push(chunk.subarray(start, at));
          start = at;
          this.#inItem = true;
        }
        this.#depth += 1;
        if (this.#depth === 2 && byte === bracket) this.#inItems = true;
      } else if (byte === endBrace || byte === endBracket) {
        this.#depth -= 1;
        if (this.#depth === 1) this.#inItems = false;
        if (this.#depth !== 2 || !this.#inItem) continue;
        this.#item.push(chunk.subarray(start, at + 1));
        start = at + 1;
        this.#inItem = false;
        this.#onItem(Buffer.concat(this.#item).toString());
        this.#item = [];
      } else if (byte === comma && this.#depth === 2 && this.#inItems) {
        // Between two items, neither of which stays.
        this.#list.push(chunk.subarray(start, at));
        start = at + 1;
      }
    }
    (this.#inItem ? this.#item : this.#list).push(chunk.subarray(start));
  }

  /** The list's JSON without the items, at its end. */
  end(): string {
    return Buffer.concat([...this.#list, ...this.#item]).toString();
  }
}
