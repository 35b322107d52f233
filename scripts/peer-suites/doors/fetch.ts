/** Loaded before a test: the global fetch is the mesh's. */
import { meshFor } from "./mesh-of-everything.ts";

const before = globalThis.fetch;

globalThis.fetch = ((...[input, init]: Parameters<typeof fetch>) => {
  const url = typeof input === "object" && "url" in input ? input.url : String(input);
  if (!URL.canParse(url)) return before(input, init);
  return meshFor(new URL(url).origin).fetch(input as never, init as never);
}) as typeof fetch;
