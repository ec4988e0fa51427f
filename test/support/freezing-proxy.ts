import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy before a server, which can stop forwarding without closing anything, as a network does that dies. */
export interface FreezingProxy {
  port: number;
  /** The URI by way of the proxy. */
  through(url: string): string;
  freeze(): void;
  /** Forwards nothing more, not even an end, on the connections of these numbers (from 1, in their order), or on all; new ones work. */
  drop(which?: (connection: number) => boolean): void;
  stop(): void;
}

export async function startFreezingProxy(
  target: { host: string; port: number },
  address = '127.0.0.1',
): Promise<FreezingProxy> {
  const sockets = new Set<Socket>();
  const flows: { dropped: boolean }[] = [];
  let frozen = false;
  const server = createServer({ allowHalfOpen: true }, (inner) => {
    sockets.add(inner.on('error', () => {}));
    if (frozen) return;
    const flow = { dropped: false };
    flows.push(flow);
    const outer = connect(target).on('error', () => flow.dropped || inner.destroy());
    sockets.add(outer);
    inner.on('data', (data) => frozen || flow.dropped || outer.write(data));
    outer.on('data', (data) => frozen || flow.dropped || inner.write(data));
    for (const event of ['end', 'close']) {
      inner.on(event, () => flow.dropped || outer.destroy());
      outer.on(event, () => frozen || flow.dropped || inner.destroy());
    }
  });
  server.listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    through(url) {
      const changed = new URL(url);
      changed.host = `${address}:${port}`;
      return changed.href;
    },
    freeze() {
      frozen = true;
    },
    drop(which = () => true) {
      for (const [index, flow] of flows.entries()) flow.dropped ||= which(index + 1);
    },
    stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
