import { explain } from '../api/policy.ts';
import { type RunRequest, runnerEnvironment, runRequestSchema } from '../api/run-request.ts';
import { ConfigurationError } from '../database/config.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a runner Pod was asked to do, and where its files are. */
export interface RunnerEnvironment {
  request: RunRequest;
  runId: string;
  databaseDirectory: string;
  caDirectory: string | undefined;
  serviceAccountDirectory: string | undefined;
}

/** Reads the environment that the controller gives a runner; ConfigurationError where it is not one of its making. */
export function runnerEnvironmentFrom(env: Environment): RunnerEnvironment {
  const text = needed(env, runnerEnvironment.request);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigurationError(`${runnerEnvironment.request} is not JSON`, { cause });
  }
  const parsed = runRequestSchema.safeParse(json);
  if (!parsed.success) {
    throw new ConfigurationError(`${runnerEnvironment.request}: ${explain(parsed.error, json)}`);
  }
  return {
    request: parsed.data,
    runId: needed(env, runnerEnvironment.runId),
    databaseDirectory: needed(env, runnerEnvironment.databaseDirectory),
    caDirectory: env[runnerEnvironment.caDirectory],
    serviceAccountDirectory: env[runnerEnvironment.serviceAccountDirectory],
  };
}

function needed(env: Environment, name: string): string {
  const value = env[name];
  if (value === undefined || value === '') {
    throw new ConfigurationError(
      `${name} is not set: \`retention run\` is started by the controller; use \`retention cleanup\` by hand`,
    );
  }
  return value;
}
