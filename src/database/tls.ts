import { X509Certificate } from 'node:crypto';
import { createSecureContext, getCACertificates, rootCertificates } from 'node:tls';
import { tlsModes } from '../api/spec.ts';
import { ConfigurationError, isSocket, type Server, type TlsConfig, type TlsMode } from './config.ts';

/** A PEM text, or for a CA the word system; `where` names it in errors. */
export interface Pem {
  text: string;
  where: string;
}

/** What was said of TLS, by whom ever. */
export interface TlsWords {
  servers: readonly Server[];
  /** Every mode that was asked for; undefined where one said nothing. */
  modes: readonly (TlsMode | undefined)[];
  ca: readonly (Pem | undefined)[];
  cert?: Pem;
  key?: Pem;
}

/**
 * The strictest mode that was asked for; without any, verify-full with a CA and require without. A CA that is given is
 * used, or refused: with require it makes verify-ca, as in libpq. A unix socket is never encrypted.
 */
export function resolveTls({ servers, modes, ca: cas, cert, key }: TlsWords): TlsConfig {
  if (servers.every(isSocket)) return { mode: 'disable' };
  const ca = onlyCa(cas);
  const asked = tlsModes.findLast((mode) => modes.includes(mode)) ?? (ca === undefined ? 'require' : 'verify-full');
  if (ca !== undefined && asked === 'disable') {
    throw new ConfigurationError(
      `${ca.where} is given, and sslmode disable never looks at a CA: leave one of them out`,
    );
  }
  if (ca?.text === 'system' && asked !== 'verify-full') {
    throw new ConfigurationError(`${ca.where}: with system, sslmode must be verify-full or left out`);
  }
  const mode = ca !== undefined && asked === 'require' ? 'verify-ca' : asked;
  return { mode, ...(ca && { ca: ca.text }), ...clientCertificate(mode, cert, key) };
}

function onlyCa(given: readonly (Pem | undefined)[]): Pem | undefined {
  const [ca, ...others] = given.filter((one) => one !== undefined);
  const other = others.find(({ text }) => text.trim() !== ca!.text.trim());
  if (other === undefined) return ca;
  throw new ConfigurationError(`${ca!.where} and ${other.where} are different CAs: leave one of them out`);
}

function clientCertificate(
  mode: TlsMode,
  cert: Pem | undefined,
  key: Pem | undefined,
): { cert?: string; key?: string } {
  const one = cert ?? key;
  if (one === undefined) return {};
  if (cert === undefined || key === undefined) {
    throw new ConfigurationError(
      `${one.where} is given alone: a client certificate needs its private key, and the reverse`,
    );
  }
  if (mode === 'disable') {
    throw new ConfigurationError(
      `${cert.where} is given, and sslmode disable sends no certificate: leave one of them out`,
    );
  }
  try {
    createSecureContext({ cert: cert.text, key: key.text });
  } catch {
    throw new ConfigurationError(
      `${cert.where} and ${key.where} must be a certificate and its private key in PEM, the key without a passphrase`,
    );
  }
  return { cert: cert.text, key: key.text };
}

/** Checks that a text is a PEM certificate, or the word system. */
export function caOf(text: string, where: string): Pem {
  if (text.trim() === 'system') return { text: 'system', where };
  try {
    new X509Certificate(text);
    return { text, where };
  } catch {
    // Without the cause, which may repeat the text.
    throw new ConfigurationError(
      `${where}: no PEM certificate: it must have a line -----BEGIN CERTIFICATE-----, and what belongs to it`,
    );
  }
}

/** The CAs for the driver; system are those of this machine and those that come with Node, since an image has none. */
export function trustedCas(ca: string): string | string[] {
  return ca === 'system' ? [...rootCertificates, ...getCACertificates('system')] : ca;
}
