import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

/** Makes `dist`, or another folder: the program as a few files of JavaScript, which start faster than its sources and need no packages. */
const outdir = process.argv[2] ?? 'dist';
const { metafile } = await build({
  entryPoints: ['src/main.ts'],
  outdir,
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
  metafile: true,
});

// Which packages are in it, for scanners, who could no longer tell (`npm sbom --omit=dev` leaves out pg, zod and others), and
// under whose terms.
const inputs = Object.keys(metafile.inputs);
const folders = new Set(inputs.flatMap((input) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []));
const read = (file: string) => readFileSync(file, 'utf8');
let licenses = '';
const components = [...folders].sort().map((folder) => {
  for (const file of readdirSync(folder).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name))) {
    licenses += `== ${folder}/${file}\n${read(`${folder}/${file}`)}\n`;
  }
  const { name, version, license } = JSON.parse(read(`${folder}/package.json`));
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return { type: 'library', 'bom-ref': purl, name, version, purl, licenses: [{ expression: license }] };
});
const { name, version } = JSON.parse(read('package.json'));
const metadata = { component: { type: 'application', name, version } };
const bom = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, metadata, components };
writeFileSync(`${outdir}/retention-operator.cdx.json`, `${JSON.stringify(bom, null, 2)}\n`);
writeFileSync(`${outdir}/licenses`, licenses);
