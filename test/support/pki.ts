import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const day = 24 * 60 * 60 * 1000;

/** A private key and what goes with it, as PEM text (the key as PKCS #8). */
export interface KeyPair {
  publicKey: string;
  privateKey: string;
}

/** A certificate and its private key, as PEM text. */
export interface Certificate {
  certificate: string;
  privateKey: string;
}

export interface CertificateAuthority {
  /** The authority's own certificate, PEM. */
  certificate: string;
  /** A certificate for TLS servers; `hosts` are DNS names and IP addresses. */
  issueServer(commonName: string, hosts: string[]): Promise<Certificate>;
  /** A certificate for TLS clients; `organizations` are the groups of a Kubernetes user. */
  issueClient(commonName: string, organizations?: string[]): Promise<Certificate>;
}

/** A new key pair, ECDSA P-256. */
export async function createKeyPair(): Promise<KeyPair> {
  const keys = await generateKeys();
  return {
    publicKey: PemConverter.encode(await crypto.subtle.exportKey('spki', keys.publicKey), 'PUBLIC KEY'),
    privateKey: await privateKeyPem(keys),
  };
}

/** A new certificate authority whose key exists in memory only; what it issues is valid for ten years. */
export async function createCertificateAuthority(commonName: string): Promise<CertificateAuthority> {
  const keys = await generateKeys();
  const root = await X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });

  async function issue(subject: JsonName, usage: ExtendedKeyUsage, hosts: string[]): Promise<Certificate> {
    const own = await generateKeys();
    const names = hosts.map((host) => ({ type: isIP(host) ? ('ip' as const) : ('dns' as const), value: host }));
    const certificate = await X509CertificateGenerator.create({
      subject,
      issuer: root.subjectName,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      ...validity(),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([usage]),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
        ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
      ],
    });
    return { certificate: certificate.toString('pem'), privateKey: await privateKeyPem(own) };
  }

  return {
    certificate: root.toString('pem'),
    issueServer: (name, hosts) => issue([{ CN: [name] }], ExtendedKeyUsage.serverAuth, hosts),
    issueClient: (name, organizations = []) =>
      issue([{ CN: [name] }, ...organizations.map((o) => ({ O: [o] }))], ExtendedKeyUsage.clientAuth, []),
  };
}

/** From a day ago, so that a clock that is a little behind accepts the certificate too. */
function validity() {
  return { notBefore: new Date(Date.now() - day), notAfter: new Date(Date.now() + 3650 * day) };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>;
}

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
}
