/** HTTP over the mesh: `meshClient(nameOrUrl).fetch(path)`. */

export {
  defaultMesh,
  meshClient,
  MeshClient,
  type ClientOptions,
  type FetchInit,
  type RequestInit,
} from "./mesh-client.ts";
export { createMesh, HttpMesh, type Installation } from "./http-mesh.ts";
export { HTTP } from "./client/protocol.ts";
export type { MeshDispatcher } from "./doors/dispatcher.ts";
export { HttpReply, type ReplyInfo } from "./client/reply.ts";
export { HttpHeaders } from "./headers.ts";
export type { RequestBody } from "./client/body.ts";
