/** What every answer begins with, and what is left of it without that. */
import type { Mesh } from "../mesh.ts";
import { API_VERSION, type Answer } from "./api.ts";

export type Body<T extends Answer> = Omit<T, keyof Answer>;

/** With lists that are made while they are written: there may be many thousands of entries. */
export type Lazily<T> = {
  readonly [Name in keyof T]: T[Name] extends readonly (infer Item)[] ? Iterable<Item> : T[Name];
};

/** `instance`: random text of the mesh. */
export function headOf<Kind extends string>(
  mesh: Mesh,
  instance: string,
  kind: Kind,
): Answer & { readonly kind: Kind } {
  return {
    apiVersion: API_VERSION,
    kind,
    instance,
    readAtWallMs: mesh.runtime.wallNow(),
    uptimeMs: mesh.runtime.now() - mesh.running.startedAt,
  };
}
