import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy before a server, which can stop forwarding without closing anything, as a network does that dies. */
export interface FreezingProxy {
  port: number;
  freeze(): void;
  stop(): void;
}

export async function startFreezingProxy(
  target: { host: string; port: number },
  address = '127.0.0.1',
): Promise<FreezingProxy> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((inner) => {
    sockets.add(inner.on('error', () => {}));
    if (frozen) return;
    const outer = connect(target).on('error', () => inner.destroy());
    sockets.add(outer);
    inner.on('data', (data) => frozen || outer.write(data)).on('close', () => outer.destroy());
    outer.on('data', (data) => frozen || inner.write(data)).on('close', () => frozen || inner.destroy());
  });
  server.listen(0, address);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    freeze() {
      frozen = true;
    },
    stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
