import { writeFile } from 'node:fs/promises';
import { kustomizeFiles } from './generated.ts';

// What needs helm, the second half of `npm run generate`.
for (const [file, text] of await kustomizeFiles()) await writeFile(new URL(`../../../${file}`, import.meta.url), text);
