import { expect, test } from 'vitest';
import { messageReader, untyped } from '../../bench/messages.ts';

const startup = () => {
  const body = Buffer.from('user\0me\0\0');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(3 << 16, 4);
  return Buffer.concat([head, body]);
};

const message = (type: string, body: string) => {
  const head = Buffer.alloc(5);
  head.write(type, 0);
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, Buffer.from(body)]);
};

const conversation = Buffer.concat([startup(), message('p', 'password'), message('Q', 'select 1\0'), message('X', '')]);

test.each([1, 2, 3, 7, 1000])('messages are found in pieces of %i bytes', (size) => {
  const read = messageReader({ startsUntyped: true });
  const types: string[] = [];
  for (let at = 0; at < conversation.length; at += size) types.push(...read(conversation.subarray(at, at + size)));
  expect(types).toEqual([untyped, 'p', 'Q', 'X']);
});

test("a server's messages are typed from the start", () => {
  const read = messageReader({ startsUntyped: false });
  expect(read(Buffer.concat([message('R', '1234'), message('Z', 'I')]))).toEqual(['R', 'Z']);
});
