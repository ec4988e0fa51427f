import { isDeepStrictEqual } from 'node:util';

/** How lists are compared: `items` one by one, as server-side apply does, or `whole`, as a JSON merge patch does. */
export type Lists = 'items' | 'whole';

/**
 * Where an object as it is stored differs from what was sent, by field; fields that the API server added do not count. With
 * `whole` it is the three-way diff of a custom resource that was applied by the client (apimachinery's
 * CreateThreeWayJSONMergePatch, for Argo CD and kubectl) where what was applied last is what is sent.
 */
export function differences(sent: unknown, stored: unknown, lists: Lists, at = ''): string[] {
  if (lists === 'items' && Array.isArray(sent) && Array.isArray(stored) && sent.length === stored.length) {
    return sent.flatMap((item, index) => differences(item, stored[index], lists, `${at}[${index}]`));
  }
  if (isRecord(sent) && isRecord(stored)) {
    return Object.entries(sent).flatMap(([key, value]) => differences(value, stored[key], lists, `${at}.${key}`));
  }
  if (isDeepStrictEqual(sent, stored)) return [];
  return [`${at}: sent ${JSON.stringify(sent)}, stored ${JSON.stringify(stored)}`];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
