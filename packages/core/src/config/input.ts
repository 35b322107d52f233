/**
 * What users write, as types for code. In code a duration is a number with `Ms` in its name; the
 * unit-less names with a string (`request: "500ms"`) of files are accepted too.
 */
import type { EndpointInfo } from "../endpoint-info.ts";
import type { WrittenOptions, WrittenRouteOptions } from "../option.ts";
import type { PolicyGroups, RouteRulesInput, ServerInput } from "../capability-options.ts";
import type { SERVICE } from "./service-options.ts";

export type PoliciesInput = WrittenOptions<typeof SERVICE> & {
  readonly [Group in keyof PolicyGroups]?: WrittenOptions<PolicyGroups[Group]>;
};

/** An endpoint of a list. `port` is left out where `host` is the path of a socket. */
export type EndpointInput = Omit<EndpointInfo, "port"> & { readonly port?: number };

export type DiscoveryInput =
  | { readonly static: readonly (string | EndpointInput)[] }
  | { readonly dns: string; readonly port: number }
  | { readonly srv: string }
  | { readonly file: string }
  | { readonly registry: string }
  | OwnDiscoveryInput;

/** A kind of `createMesh({ discoveries })`, by its name. What may stand in it, the kind says. */
export interface OwnDiscoveryInput {
  readonly [kind: string]: unknown;
  readonly dns?: never;
  readonly srv?: never;
  readonly file?: never;
  readonly static?: never;
  readonly registry?: never;
}

export interface ServiceInput extends PoliciesInput {
  /** Scheme, authority and, without `discovery`, where to look: `http://orders.shop.svc:8080`. */
  readonly url?: string;
  readonly scheme?: "http" | "https";
  readonly authority?: string;
  readonly discovery?: DiscoveryInput;
  readonly routes?: readonly RouteInput[];
}

export interface RouteInput extends RouteRulesInput {
  readonly timeouts?: WrittenRouteOptions<PolicyGroups["timeouts"]>;
  readonly retry?: WrittenRouteOptions<PolicyGroups["retry"]>;
}

export interface MeshInput {
  readonly defaults?: PoliciesInput;
  readonly services?: Readonly<Record<string, ServiceInput>>;
  /** By the `name` that `meshServer` or `meshGrpcServer` is given. */
  readonly servers?: Readonly<Record<string, ServerInput>>;
  /** Of mesh-proxy: docs/reference/proxy.md. Read only where the mesh has that section. */
  readonly proxy?: object;
}
