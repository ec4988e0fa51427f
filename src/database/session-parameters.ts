import type { SessionParameters } from './config.ts';
import {
  parseChannelBinding,
  parseConnectTimeout,
  parseOptions,
  parseRequireAuth,
  parseTargetSession,
  type Said,
} from './parameters.ts';

const defaultConnectTimeoutMs = 10_000;

/** libpq's parameters that are about the session, and none that is undefined; `said` finds each by its name. */
export function sessionParameters(
  said: (name: string) => Said | undefined,
): SessionParameters & { connectTimeoutMs: number } {
  const parameters = {
    channelBinding: parseChannelBinding(said('channel_binding')),
    requireAuth: parseRequireAuth(said('require_auth')),
    targetSession: parseTargetSession(said('target_session_attrs')),
    options: parseOptions(said('options')),
  };
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return {
    ...Object.fromEntries(given),
    connectTimeoutMs: parseConnectTimeout(said('connect_timeout')) ?? defaultConnectTimeoutMs,
  };
}
