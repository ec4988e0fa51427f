import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { eventually } from '../eventually.ts';
import type { Certificate } from '../pki.ts';

/** A message of the protocol to a client. */
const message = (type: string, body: Buffer) => {
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, body]);
};
const int32 = (value: number) => {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
};
const accepted = Buffer.concat([message('R', int32(0)), message('Z', Buffer.from('I'))]);

/** What the server asks for at login. */
export const logins = {
  cleartext: message('R', int32(3)),
  md5: message('R', Buffer.concat([int32(5), Buffer.from('salt')])),
  scram: message('R', Buffer.concat([int32(10), Buffer.from('SCRAM-SHA-256\0\0')])),
  nothing: accepted,
};

/** Speaks a server's side of the login, keeps what it is sent, and accepts any answer. */
export interface FakeServer {
  port: number;
  /** All that clients have sent, startup included. */
  received(): string;
  stop(): void;
}

/** Starts one on 127.0.0.1; with a certificate it offers TLS. */
export async function startFakeServer(login: keyof typeof logins, certificate?: Certificate): Promise<FakeServer> {
  let received = '';
  const talk = (socket: Socket) => {
    let started = false;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      received += data.toString('latin1');
      socket.write(started ? accepted : logins[login]);
      started = true;
    });
  };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (certificate === undefined) return talk(socket);
    socket.once('data', () => {
      socket.write('S');
      const { certificate: cert, privateKey: key } = certificate;
      talk(new TLSSocket(socket, { isServer: true, cert, key }));
    });
  }).listen(0, '127.0.0.1');
  await eventually('it listens', async () => server.listening);
  return {
    port: (server.address() as { port: number }).port,
    received: () => received,
    stop: () => server.close(),
  };
}
