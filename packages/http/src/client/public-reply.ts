/** A reply as an application sees it: without what the pipeline and the doors of a mesh do with it. */
import type { HttpReply } from "./reply.ts";

export interface PublicReply extends Pick<
  HttpReply,
  | "status"
  | "statusText"
  | "ok"
  | "headers"
  | "trailers"
  | "bodyUsed"
  | "mesh"
  | "bytes"
  | "text"
  | "json"
  | "body"
  | "webBody"
  | "toResponse"
  | "discard"
> {}
