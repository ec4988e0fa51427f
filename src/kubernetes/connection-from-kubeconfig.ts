import { existsSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import type { Connection, ConnectionOptions } from './connection.ts';

/**
 * The connection a kubeconfig describes, with all that client-node knows of: client certificates, tokens, exec plugins,
 * OIDC, impersonation, proxies. Without `file`: KUBECONFIG, then ~/.kube/config. Without `context`: the current one.
 * `namespace` is the context's.
 */
export function connectionFromKubeconfig(file?: string, context?: string): Connection & { namespace?: string } {
  const config = new KubeConfig();
  if (file) {
    config.loadFromFile(file);
  } else if (process.env.KUBECONFIG || existsSync(join(homedir(), '.kube', 'config'))) {
    config.loadFromDefault();
  } else {
    // client-node would silently try http://localhost:8080.
    throw new Error('No kubeconfig found: set KUBECONFIG, or write ~/.kube/config');
  }
  if (context) config.setCurrentContext(context);
  const cluster = config.getCurrentCluster();
  if (!cluster) {
    const known = config
      .getContexts()
      .map(({ name }) => name)
      .join(', ');
    throw new Error(`The kubeconfig has no cluster for context "${config.getCurrentContext()}"; it has: ${known}`);
  }
  return {
    server: cluster.server,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace,
    async options() {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      const { agent, ...credentials } = options;
      // client-node's own agent keeps no connection alive: it serves only where it is a proxy.
      return (cluster.proxyUrl ? { ...credentials, agent } : credentials) as ConnectionOptions;
    },
  };
}
