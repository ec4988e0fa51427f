import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, createServer } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { type CertificateAuthority, createCertificateAuthority } from '../support/pki.ts';

/** A TLS server with a certificate of `authority` for `localhost`, that asks clients for one of its too. */
async function serve(authority: CertificateAuthority): Promise<number> {
  const { certificate, privateKey } = await authority.issueServer('server', ['localhost', '127.0.0.1']);
  const server = createServer({
    cert: certificate,
    key: privateKey,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: true,
  });
  server.on('secureConnection', (socket) => socket.end(JSON.stringify(socket.getPeerCertificate().subject)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** What the server says of the client's certificate. */
async function talk(port: number, options: ConnectionOptions): Promise<unknown> {
  const socket = connect({ host: '127.0.0.1', port, ...options });
  let text = '';
  for await (const chunk of socket) text += chunk;
  return JSON.parse(text);
}

test('a server is trusted by its authority, for its hosts only, and knows a client by name and groups', async () => {
  const authority = await createCertificateAuthority('one');
  const client = await authority.issueClient('joe', ['readers', 'writers']);
  const credentials = { ca: authority.certificate, cert: client.certificate, key: client.privateKey };
  const port = await serve(authority);
  const subject = { CN: 'joe', O: ['readers', 'writers'] };
  expect(await talk(port, { ...credentials, servername: 'localhost' })).toEqual(subject);
  expect(await talk(port, credentials)).toEqual(subject);
  await expect(talk(port, { ...credentials, servername: 'elsewhere' })).rejects.toThrow(/elsewhere/);
});

test('neither a server nor a client of another authority is trusted', async () => {
  const [authority, other] = [await createCertificateAuthority('one'), await createCertificateAuthority('one')];
  const stranger = await other.issueClient('joe');
  const port = await serve(authority);
  await expect(talk(port, { ca: other.certificate })).rejects.toThrow(/self-signed|signature|unable to verify/);
  const credentials = { ca: authority.certificate, cert: stranger.certificate, key: stranger.privateKey };
  await expect(talk(port, credentials)).rejects.toThrow();
});
