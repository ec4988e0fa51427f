import { createCertificateAuthority } from '../pki.ts';
import { type PostgresServer, startPostgres } from './server.ts';

/** A server with a certificate of its own authority. */
export interface TlsServer extends PostgresServer {
  /** The authority's certificate, PEM. */
  ca: string;
}

/** Starts a server with `ssl = on`, whose certificate is for one name only: the address 127.0.0.1 is a wrong host. */
export async function startTlsPostgres(host = 'localhost'): Promise<TlsServer> {
  const authority = await createCertificateAuthority('retention test authority');
  const { certificate, privateKey } = await authority.issueServer(host, [host]);
  const ca = authority.certificate;
  return { ...(await startPostgres({ tls: { cert: certificate, key: privateKey, ca } })), ca };
}
