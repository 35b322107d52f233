/** HTTP over the mesh: `meshClient(nameOrUrl).fetch(path)`. */

export {
  defaultMesh,
  HTTP,
  meshClient,
  MeshClient,
  type ClientOptions,
  type FetchInit,
  type RequestInit,
} from "./mesh-client.ts";
export { HttpReply, type ReplyInfo } from "./client/reply.ts";
export { HttpHeaders } from "./headers.ts";
export type { RequestBody } from "./client/body.ts";
