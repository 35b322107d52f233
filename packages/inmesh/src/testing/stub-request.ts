/** One request as it reached a stub: an attempt, so a call that was retried stands here several times. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

const MAX_BODY_BYTES = 16 * 1024 * 1024;

export interface StubRequest {
  /** As in `stubMesh({ [service]: … })`. */
  readonly service: string;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case, as node:http gives them. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The body as text. */
  readonly text: string;
  /** The body as JSON. Throws a SyntaxError if it is none. */
  readonly json: () => unknown;
}

/** Reads it to its end. Rejects if the caller goes away, or after 16 MiB. */
export async function readStubRequest(
  service: string,
  request: IncomingMessage,
): Promise<StubRequest> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error(`the body is longer than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://stub");
  return {
    service,
    method: request.method ?? "GET",
    path: pathname,
    query: searchParams,
    headers: request.headers,
    body,
    get text(): string {
      return body.toString();
    },
    json: () => JSON.parse(body.toString()) as unknown,
  };
}
