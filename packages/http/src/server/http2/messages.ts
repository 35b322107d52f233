/**
 * The classes of the messages of HTTP/2 servers made here, as node:http2 takes them. They carry all
 * that Node's own do and pass for instances of those, which is how libraries distinguish HTTP/2 from HTTP/1.
 */
// oxlint-disable-next-line no-restricted-imports -- types
import type * as http2 from "node:http2";
import { Http2Request } from "./request.ts";
import { Http2Response } from "./response.ts";
import { PROTOTYPES } from "./stream.ts";

export interface MessageClasses {
  readonly Http2ServerRequest: typeof http2.Http2ServerRequest;
  readonly Http2ServerResponse: typeof http2.Http2ServerResponse;
}

export function messageClasses(node: typeof http2): MessageClasses {
  const given = node.Http2ServerRequest.prototype as object;
  if (Object.getPrototypeOf(Http2Request.prototype) !== given) {
    Object.setPrototypeOf(Http2Request.prototype, given);
    Object.setPrototypeOf(Http2Response.prototype, node.Http2ServerResponse.prototype as object);
    PROTOTYPES.request = Http2Request.prototype;
    PROTOTYPES.response = Http2Response.prototype;
  }
  return {
    Http2ServerRequest: Http2Request as unknown as typeof http2.Http2ServerRequest,
    Http2ServerResponse: Http2Response as unknown as typeof http2.Http2ServerResponse,
  };
}
