/**
 * A reply of npm undici's fetch as a Response of the process, so that `instanceof Response` holds and
 * Headers, FormData and clones are the process's own. The stream is handed over, no byte is copied.
 */
import type { ReadableStream } from "node:stream/web";
import type { Response as UndiciResponse } from "undici";

/** `body`: what takes the place of the reply's own. */
export function ofProcess(
  reply: UndiciResponse,
  body: ReadableStream | null = reply.body,
): UndiciResponse {
  // Environments of tests may have no fetch, as jsdom has none.
  const Own = (globalThis.Response as unknown as typeof UndiciResponse) ?? reply.constructor;
  const { status, statusText, headers } = reply;
  // A constructor takes fewer statuses than a server may send.
  const accepted = status >= 200 && status <= 599 ? status : 200;
  return described(new Own(body, { status: accepted, statusText, headers: [...headers] }), reply);
}

/**
 * What only fetch can give to a Response, and `clone` does not take along. The properties hold undici's
 * reply: it would cancel the stream once that is collected.
 */
function described(copy: UndiciResponse, reply: UndiciResponse): UndiciResponse {
  const plainClone = copy.clone.bind(copy);
  return Object.defineProperties(copy, {
    status: { get: () => reply.status },
    ok: { get: () => reply.ok },
    url: { get: () => reply.url },
    redirected: { get: () => reply.redirected },
    type: { get: () => reply.type },
    clone: { value: (): UndiciResponse => described(plainClone(), reply) },
  });
}
