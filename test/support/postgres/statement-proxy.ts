import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One statement of a client on its way to the server: a simple query, or an extended one up to its Sync. */
export interface Statement {
  /** From 1, over all connections. */
  number: number;
  sql: string;
  /** Which connection it came by, from 1. */
  connection: number;
  /** The server process of that connection. */
  pid: number;
  /** Closes the connection on both sides, as a network does that fails loudly; what is held is dropped. */
  cut(): void;
  /** Closes the server's side alone. The client hears of it when it next sends something. */
  vanish(): void;
  /** Closes the client's side alone. The server's process stays as it is. */
  orphan(): void;
  /** Closes all connections and takes no others: to the server, the death of its client. */
  die(): void;
}

/** What happens at the boundaries of a statement; the statement, or its answer, is held for as long. */
export interface Boundaries {
  before?(statement: Statement): unknown;
  /** The server has finished the statement, and the client does not know it yet. */
  after?(statement: Statement): unknown;
}

/** A TCP proxy before a PostgreSQL server that knows where statements begin and end. Without TLS. */
export class StatementProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #boundaries: Boundaries;
  #statements = 0;
  #connections = 0;

  private constructor(target: { host: string; port: number }, boundaries: Boundaries) {
    this.#boundaries = boundaries;
    this.#server = createServer((client) => this.#carry(client, connect(target)));
  }

  /** Starts a proxy before the server of a URI. */
  static async start(url: string, boundaries: Boundaries): Promise<StatementProxy> {
    const { hostname, port } = new URL(url);
    const proxy = new StatementProxy({ host: hostname, port: Number(port) }, boundaries);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** The URI by way of the proxy. */
  through(url: string): string {
    const changed = new URL(url);
    changed.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return changed.href;
  }

  /** Closes all connections and takes no others: to the server, the death of its client. */
  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #carry(client: Socket, server: Socket): void {
    const connection = ++this.#connections;
    const fromServer = new Messages(false);
    const fromClient = new Messages(true);
    let pid = 0;
    /** Parts of a statement that is not complete yet. */
    let parts: Message[] = [];
    /** What the server has said while a statement is under way. */
    let answer: Buffer[] | undefined;
    let answered = () => {};
    let turn: Promise<void> = Promise.resolve();
    const cut = () => {
      client.resetAndDestroy();
      server.destroy();
    };

    const carryStatement = async (messages: Message[]) => {
      const number = ++this.#statements;
      const vanish = () => {
        client.removeAllListeners('close');
        server.removeAllListeners('close').destroy();
      };
      const orphan = () => void client.removeAllListeners('close').resetAndDestroy();
      const sql = textOf(messages);
      const statement = { number, sql, connection, pid, cut, vanish, orphan, die: () => this.stop() };
      await this.#boundaries.before?.(statement);
      if (client.destroyed || server.destroyed) {
        client.resetAndDestroy();
        return;
      }
      const finished = new Promise<void>((resolve) => {
        answered = resolve;
      });
      answer = [];
      server.write(Buffer.concat(messages.map(({ bytes }) => bytes)));
      await finished;
      await this.#boundaries.after?.(statement);
      if (!client.destroyed) client.write(Buffer.concat(answer));
      answer = undefined;
      if (server.destroyed) client.end();
    };

    client.on('data', (data) => {
      for (const message of fromClient.take(data)) {
        if (message.type === '' || message.type === 'p' || message.type === 'X') {
          server.write(message.bytes);
          continue;
        }
        parts.push(message);
        if (message.type !== 'Q' && message.type !== 'S') continue;
        const whole = parts;
        parts = [];
        turn = turn.then(() => carryStatement(whole));
      }
    });
    server.on('data', (data) => {
      for (const { type, bytes } of fromServer.take(data)) {
        if (type === 'K') pid = bytes.readInt32BE(5);
        if (answer === undefined) client.write(bytes);
        else answer.push(bytes);
        if (answer !== undefined && type === 'Z') answered();
      }
    });
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket
        .setNoDelay()
        .on('error', () => {})
        .on('close', () => this.#sockets.delete(socket));
    }
    client.on('close', () => server.destroy());
    server.on('close', () => (answer === undefined ? client.end() : answered()));
  }
}

interface Message {
  /** The letter of the protocol; empty for the startup message, which has none. */
  type: string;
  bytes: Buffer;
}

/** Cuts a stream of the protocol into its messages. */
class Messages {
  #rest = Buffer.alloc(0);
  #startup: boolean;

  constructor(beginsWithStartup: boolean) {
    this.#startup = beginsWithStartup;
  }

  /** The messages that are complete with this data. */
  take(data: Buffer): Message[] {
    this.#rest = Buffer.concat([this.#rest, data]);
    const messages: Message[] = [];
    for (;;) {
      const letter = this.#startup ? 0 : 1;
      if (this.#rest.length < letter + 4) return messages;
      const length = letter + this.#rest.readInt32BE(letter);
      if (this.#rest.length < length) return messages;
      messages.push({
        type: this.#startup ? '' : String.fromCharCode(this.#rest[0]!),
        bytes: this.#rest.subarray(0, length),
      });
      this.#rest = this.#rest.subarray(length);
      this.#startup = false;
    }
  }
}

/** The SQL of a statement: of its Query, or of its Parse, which begins with the statement's name. */
function textOf(messages: Message[]): string {
  const { type, bytes } = messages.find((message) => message.type === 'Q' || message.type === 'P')!;
  const [first = '', second = ''] = bytes.subarray(5).toString().split('\0');
  return type === 'Q' ? first : second;
}
