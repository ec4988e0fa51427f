// Starts the built program in the ways that matter, so that V8's compile cache has what these compile.
import { spawnSync } from 'node:child_process';

const nobody = ['--database-url', 'postgres://nobody@127.0.0.1:9/none?sslmode=disable'];
for (const args of [
  ['cleanup', ...nobody],
  ['stats', ...nobody],
  ['run'],
  ['controller', '--image', 'none'],
  ['--help'],
]) {
  spawnSync(process.execPath, [...process.execArgv, '/app/main.js', ...args], { stdio: 'ignore', timeout: 20_000 });
}
