import { KubeConfig } from '@kubernetes/client-node';
import type { Certificate } from '../pki.ts';

/** A kubeconfig file's text (JSON, which is YAML) for a user with a client certificate. */
export function kubeconfigText(server: string, caPem: string, user: Certificate): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(caPem) } }],
    users: [
      {
        name: 'test',
        user: {
          'client-certificate-data': base64(user.certificate),
          'client-key-data': base64(user.privateKey),
        },
      },
    ],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'default' } }],
  });
}

export function parseKubeconfig(text: string): KubeConfig {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromString(text);
  return kubeConfig;
}
