import { isMap, isScalar, parseDocument, type YAMLMap } from 'yaml';

/** A manifest as a template of the Helm chart, there only if this value is true. */
export function asTemplate(manifest: string, value: string): string {
  if (manifest.includes('{{')) throw new Error('Helm would take {{ in a manifest for its own');
  return `{{- if .Values.${value} }}\n${manifest}{{- end }}\n`;
}

/** The CRD as a template; it outlives its release, and every policy with it, unless `crds.keep` is false. */
export function crdTemplate(manifest: string): string {
  const keep = '  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n';
  return asTemplate(manifest, 'crds.enabled').replace('\nmetadata:\n', `\nmetadata:\n${keep}`);
}

const maxDefaultLength = 60;
type Values = { [key: string]: unknown };

/** A comment as it stands before a node, on one line. */
const line = (comment: string | null | undefined) =>
  (comment ?? '').replaceAll(/\n ?/g, ' ').replaceAll('|', '\\|').trim();

/** Whether a value says of its own keys what they are for. */
function isDocumented(value: unknown): value is YAMLMap {
  if (!isMap(value)) return false;
  if (value.commentBefore) return true;
  return value.items.some(({ key, value: child }) => (isScalar(key) && key.commentBefore) || isDocumented(child));
}

/** One table row per value, as the comment above it describes it; `first` is the comment above the map's first key. */
function rows(map: YAMLMap, values: Values, path: string, first: string): string[] {
  return map.items.flatMap(({ key, value }, index) => {
    const name = String(key);
    const own = values[name];
    if (isDocumented(value)) return rows(value, own as Values, `${path}${name}.`, line(value.commentBefore));
    // The parser takes the comment above a map's first key for the map's own.
    const comment = (isScalar(key) && line(key.commentBefore)) || (index === 0 ? first : '');
    if (comment === '') throw new Error(`values.yaml says nothing of ${path}${name}`);
    const json = JSON.stringify(own);
    const standard = json.length > maxDefaultLength ? 'see values.yaml' : `\`${json}\``;
    return [`| \`${path}${name}\` | ${standard} | ${comment} |`];
  });
}

/** deploy/chart/README.md: what the comments of values.yaml say. */
export function chartReadme(values: string): string {
  const document = parseDocument(values);
  const table = rows(document.contents as YAMLMap, document.toJS() as Values, '', line(document.commentBefore));
  return `<!-- Generated from values.yaml by \`npm run generate\`; do not edit. -->
# Helm chart retention-operator

How to install, upgrade and uninstall it is in [docs/install.md](../../docs/install.md).

| value | default | what it says |
|---|---|---|
${table.join('\n')}
`;
}
