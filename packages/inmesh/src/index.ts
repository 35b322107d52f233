/** The one install: everything an application needs to make calls through the mesh. */
import { useKubernetes } from "./kubernetes.ts";

useKubernetes();

export type * from "@inmesh/core";
export type * from "@inmesh/http";
// By name, because the build writes the ESM face from the names that it sees.
export {
  accessLog,
  ConfigError,
  context,
  isMeshError,
  MeshError,
  parseTapOptions,
  ServedRequest,
} from "@inmesh/core";
export {
  AdminError,
  createMesh,
  defaultMesh,
  HttpHeaders,
  HttpMesh,
  meshClient,
  MeshClient,
  meshServer,
  MeshServer,
  refusal,
  StatusError,
} from "@inmesh/http";
