/** The type of a message that has none: the first ones of a client. */
export const untyped = '';

const protocol3 = 3;

/**
 * Reads one direction of a PostgreSQL connection, piece by piece as it arrives, and gives the type of each message that
 * begins in a piece. A client's messages have no type until it has named the protocol's version.
 */
export function messageReader({ startsUntyped }: { startsUntyped: boolean }): (data: Buffer) => string[] {
  let typed = !startsUntyped;
  let head = Buffer.alloc(0);
  let left = 0; // of the message whose head has been read
  return (data) => {
    const types: string[] = [];
    let at = 0;
    while (at < data.length) {
      if (left > 0) {
        const passed = Math.min(left, data.length - at);
        left -= passed;
        at += passed;
        continue;
      }
      // Type and length, or length and version.
      const headLength = typed ? 5 : 8;
      const piece = data.subarray(at, at + headLength - head.length);
      head = Buffer.concat([head, piece]);
      at += piece.length;
      if (head.length < headLength) break;
      types.push(typed ? String.fromCharCode(head[0]!) : untyped);
      left = typed ? head.readUInt32BE(1) - 4 : head.readUInt32BE(0) - 8;
      typed ||= head.readUInt16BE(4) === protocol3;
      head = Buffer.alloc(0);
    }
    return types;
  };
}
