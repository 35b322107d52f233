/** Loaded before a test: the global fetch is the mesh's, and so is the one that undici's own tests require. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { meshFor } from "./mesh-of-everything.ts";

const before = globalThis.fetch;

// One of undici's tests reads its name and how many parameters it has.
globalThis.fetch = function fetch(input: Parameters<typeof before>[0], init = undefined) {
  const url = typeof input === "object" && "url" in input ? input.url : String(input);
  if (!URL.canParse(url)) return before(input, init);
  return meshFor(new URL(url).origin).fetch(input as never, init as never);
} as typeof before;

const require = createRequire(import.meta.url);
const folder = process.cwd();
if ((require(join(folder, "package.json")) as { name: string }).name === "undici") {
  (require(join(folder, "index.js")) as { fetch: typeof before }).fetch = globalThis.fetch;
}
