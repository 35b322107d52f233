/**
 * The identity source that is built in: the files of `tls.ca`, `tls.cert` and `tls.key`, or their texts.
 * Files of a pair are written one after the other, so a pair that does not fit is normal for a moment.
 */
import { FILES, MAX_PEM_BYTES, readTexts, tlsFiles, type TlsTexts } from "./pem.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { FileWatch } from "../watch/file-watch.ts";
import type { IdentitySink, IdentitySource, IdentityWatch } from "./identity.ts";

/** Reads synchronously as it starts to watch: what is there is known before `watch` returns. */
export function fileIdentity(tls: TlsTexts, runtime: Runtime): IdentitySource {
  return {
    name: FILES,
    watch(sink: IdentitySink): IdentityWatch {
      const read = (): void => {
        const { texts, mistakes } = readTexts(tls);
        if (mistakes.length === 0) return sink.replace(texts);
        sink.failed(
          new Error(mistakes.map(({ field, rule }) => `tls.${field} ${rule}`).join("; ")),
        );
      };
      read();
      const watches = tlsFiles(tls).map(
        (path) => new FileWatch(path, MAX_PEM_BYTES, runtime, read),
      );
      return {
        ...(watches.length > 0 && { refresh: read }), // texts stay as they are
        stop() {
          for (const watch of watches) watch.close();
        },
      };
    },
  };
}
