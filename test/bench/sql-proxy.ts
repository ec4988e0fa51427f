import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { messageReader } from './messages.ts';

/** What the proxy has seen since it was last asked. */
export interface SqlTraffic {
  /** When the first statement arrived, as `performance.now()` says; undefined while none has. */
  firstStatementAt: number | undefined;
  /** While at least one statement was under way on any connection. */
  seconds: number;
  /** Answers of the server that ended with "ready for the next". */
  roundTrips: number;
}

/** A TCP proxy before a server that watches the PostgreSQL protocol, which has to be spoken without TLS. */
export interface SqlProxy {
  /** The server's URI by way of the proxy. */
  url: string;
  /** What was seen since the last call; no statement may be under way. */
  take(): SqlTraffic;
  stop(): void;
}

export async function startSqlProxy(serverUrl: string): Promise<SqlProxy> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  const meter = new Meter();
  const proxy = createServer({ noDelay: true }, (client) => {
    const server = connect({ host: hostname, port: Number(port), noDelay: true });
    const connection = meter.connection();
    client.on('data', (data) => {
      connection.sent(data);
      server.write(data);
    });
    server.on('data', (data) => {
      connection.answered(data);
      client.write(data);
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        connection.ended();
        other.destroy();
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const url = new URL(serverUrl);
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return {
    url: url.href,
    take: () => meter.take(),
    stop() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Simple query, and the messages of the extended protocol that a Sync ends. */
const statements = new Set(['Q', 'P', 'B', 'D', 'E', 'C', 'F', 'H', 'S']);
const ended = new Set(['Q', 'F', 'S']);
const readyForQuery = 'Z';

/** Adds up the time in which any connection has a statement under way. */
class Meter {
  #traffic: SqlTraffic = { firstStatementAt: undefined, seconds: 0, roundTrips: 0 };
  #busy = 0;
  #busySince = 0;

  take(): SqlTraffic {
    if (this.#busy > 0) throw new Error('a statement is still under way');
    const taken = this.#traffic;
    this.#traffic = { firstStatementAt: undefined, seconds: 0, roundTrips: 0 };
    return taken;
  }

  connection() {
    const client = messageReader({ startsUntyped: true });
    const server = messageReader({ startsUntyped: false });
    let awaited = 1; // the server says that it is ready once the client has logged in
    let busy = false;
    const setBusy = (now: boolean) => {
      if (now === busy) return;
      busy = now;
      this.#count(now ? 1 : -1);
    };
    return {
      sent: (data: Buffer) => {
        for (const type of client(data)) {
          if (!statements.has(type)) continue;
          this.#traffic.firstStatementAt ??= performance.now();
          if (ended.has(type)) awaited += 1;
          setBusy(true);
        }
      },
      answered: (data: Buffer) => {
        for (const type of server(data)) {
          if (type !== readyForQuery) continue;
          awaited -= 1;
          if (busy) this.#traffic.roundTrips += 1;
          if (awaited === 0) setBusy(false);
        }
      },
      ended: () => setBusy(false),
    };
  }

  #count(change: 1 | -1): void {
    const now = performance.now();
    if (this.#busy === 0) this.#busySince = now;
    this.#busy += change;
    if (this.#busy === 0) this.#traffic.seconds += (now - this.#busySince) / 1000;
  }
}
