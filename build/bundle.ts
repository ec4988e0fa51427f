import { build } from 'esbuild';

/** Makes `dist`: the program as a few files of JavaScript, which start faster than its sources and need no packages. */
await build({
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  bundle: true,
  // Commands load what they need when they need it.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minifyWhitespace: true,
  minifySyntax: true,
  // An optional driver in C that pg asks for.
  external: ['pg-native'],
  legalComments: 'none',
  // What is CommonJS asks for Node's own modules by require.
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
