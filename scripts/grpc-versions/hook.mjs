/**
 * Preloaded into a process (`node --import`): every import and `require` of the repository's grpc-js gets
 * the one in the folder `INMESH_GRPC_JS` instead. That of the libraries which bring grpc-js along is the
 * same file, so a process never has two of them.
 */
import { registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = (path) => `${pathToFileURL(path).href}/`;
const installed = folder(join(import.meta.dirname, "../../node_modules/@grpc/grpc-js"));
const chosen = process.env.INMESH_GRPC_JS;

if (chosen !== undefined) {
  registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      if (!resolved.url.startsWith(installed)) return resolved;
      return { ...resolved, url: folder(chosen) + resolved.url.slice(installed.length) };
    },
  });
}
