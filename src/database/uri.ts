import { ConfigurationError, type Server } from './config.ts';
import { parsePort, type Said, unsupportedParameters, uriParameters } from './parameters.ts';

/** What a connection URI says; its parameters are not looked at yet, but for host and port. */
export interface DatabaseLocation {
  servers: Server[];
  database: string;
  user: string;
  password?: string;
}

/** A URI in its parts; `parameter` gives one of those behind its question mark, decoded. */
export interface ParsedUri {
  location: DatabaseLocation;
  parameter(name: string): Said | undefined;
}

/**
 * Parses a `postgresql://` URI. `source` names it in errors, which have no piece of it: what stands at a wrong place may
 * be a piece of the password. Refuses parameters that this program does not apply, instead of ignoring them;
 * application_name alone is accepted and ignored, since providers write it and a run's sessions bear the run's own.
 */
export function parseDatabaseUri(uri: string, source: string): ParsedUri {
  if (!/^postgres(ql)?:\/\//.test(uri)) {
    throw new ConfigurationError(`${source}: not a PostgreSQL URI: it must start with postgresql:// or postgres://`);
  }
  const [, scheme, authority = '', rest = ''] = /^([a-z]+:\/\/)([^/?#]*)(.*)$/s.exec(uri)!;
  if (rest.includes('@')) {
    throw new ConfigurationError(
      `${source}: has an @ behind a /, ? or #; percent-encode these characters in user, password and database name`,
    );
  }
  const at = authority.lastIndexOf('@') + 1;
  const url = URL.parse(`${scheme}${authority.slice(0, at)}localhost${rest}`) ?? notValid(source);
  checkNames([...url.searchParams.keys()], source);
  const parameter = (name: string): Said | undefined => {
    const value = url.searchParams.get(name) ?? undefined;
    return value === undefined ? undefined : { value, where: `${source}: ${name}` };
  };
  const user = decode(url.username, source);
  const servers = serversOf(authority.slice(at), source, parameter('host')?.value, parameter('port')?.value);
  if (user === '') throw new ConfigurationError(`${source}: user is missing`);
  return {
    location: {
      servers,
      database: decode(url.pathname.slice(1), source) || user,
      user,
      password: url.password === '' ? undefined : decode(url.password, source),
    },
    parameter,
  };
}

function checkNames(names: string[], source: string): void {
  const wrong = names.find((name) => !uriParameters.includes(name));
  if (wrong === undefined) return;
  const what = unsupportedParameters.includes(wrong) ? `URI parameter "${wrong}" is` : 'has a URI parameter that is';
  throw new ConfigurationError(`${source}: ${what} not supported; supported are ${uriParameters.join(', ')}`);
}

function serversOf(authority: string, source: string, hosts?: string, ports?: string): Server[] {
  const written = authority.split(',').map((part) => {
    const [, address, name, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(part) ?? notValid(source);
    return { host: address ?? decode(name ?? '', source), port };
  });
  const names = hosts === undefined ? written.map(({ host }) => host) : hosts.split(',');
  return parseServers(names, ports?.split(',') ?? written.map(({ port }) => port ?? ''), {
    host: `${source}: host`,
    port: `${source}: port`,
  });
}

/** Hosts with their ports, of which there may be one for all; `where` names both in errors, `shown` with what they are. */
export function parseServers(
  hosts: string[],
  ports: string[],
  where: { host: string; port: string },
  shown = false,
): [Server, ...Server[]] {
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw new ConfigurationError(`${where.port} must be one number, or as many as there are hosts`);
  }
  const servers = hosts.map((host, index) => {
    const name = host === '' ? 'localhost' : host;
    if (!/^(\/.*|[\p{L}\p{N}._:%-]+)$/u.test(name) || name.length > 255) {
      throw new ConfigurationError(`${where.host} must be a name, an address or a socket's folder`);
    }
    const value = ports.length === 1 ? ports[0]! : (ports[index] ?? '');
    return { host: name, port: parsePort({ value, where: where.port, shown }) };
  });
  return servers as [Server, ...Server[]];
}

function notValid(source: string): never {
  throw new ConfigurationError(
    `${source}: not a valid URI: expected postgresql://user:password@host:5432/dbname, special characters in the password percent-encoded`,
  );
}

function decode(text: string, source: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ConfigurationError(
      `${source}: the URI has a percent sign that encodes nothing; write %25 for a percent sign`,
    );
  }
}
