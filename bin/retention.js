#!/usr/bin/env -S node --max-semi-space-size=2
// Batches make much garbage: with larger semi-spaces V8 takes 150 MB for a backlog where these do with less than 100.
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Beside the code it is made from, so that nobody else can write it. Where it cannot be written, every start compiles.
// JavaScript, since a first file in TypeScript would load the type stripper, which the cache makes needless.
enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/retention'));
await import('../src/main.ts');
