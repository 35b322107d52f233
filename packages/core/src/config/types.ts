/**
 * What a valid configuration looks like once it is parsed: plain frozen data, every field present,
 * numbers with their unit in the name. `parse.ts` makes it.
 */
import type { EndpointInfo } from "../endpoint-info.ts";
import type { ParsedOptions, RouteOptions } from "../option.ts";
import type { PolicyGroups, RouteRules, ServerConfig } from "../capability-options.ts";
import type { SERVICE } from "./service-options.ts";

export interface MeshConfig {
  /** By name. Has no prototype, so that a lookup of `constructor` finds nothing. */
  readonly services: Readonly<Record<string, ServiceConfig>>;
  /** Options of servers of that name; no prototype either. Left out where no source says anything. */
  readonly servers?: Readonly<Record<string, ServerConfig>>;
  /** What sections of packages outside say, by their names; no prototype. Left out where none is written. */
  readonly sections?: Readonly<Record<string, object>>;
  /** Applied when a service is asked for that no source names, see `defaultServiceConfig`. */
  readonly defaults: ServicePolicies;
}

/** Where endpoints come from: the name of a built-in kind with its options, or `own`. */
export type DiscoveryConfig =
  | { readonly kind: "static"; readonly endpoints: readonly EndpointInfo[] }
  | { readonly kind: "dns"; readonly host: string; readonly port: number }
  | { readonly kind: "srv"; readonly name: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "registry"; readonly dir: string; readonly name: string }
  | OwnDiscoveryConfig;

/** Of a kind that the application has added: its name, and what it has read. */
export interface OwnDiscoveryConfig {
  readonly kind: "own";
  readonly name: string;
  readonly options: object;
}

/** All policies of a service; what a route leaves out it takes from here. */
export type ServicePolicies = ParsedOptions<typeof SERVICE> & {
  readonly [Group in keyof PolicyGroups]: ParsedOptions<PolicyGroups[Group]>;
};

export interface ServiceConfig extends ServicePolicies {
  readonly name: string;
  readonly discovery: DiscoveryConfig;
  readonly scheme: "http" | "https";
  /** The authority put into Host and SNI, `orders` or `orders.shop.svc:8080`. */
  readonly authority: string;
  readonly routes: readonly RouteConfig[];
}

export interface RouteConfig extends RouteRules {
  readonly timeouts: RouteOptions<PolicyGroups["timeouts"]>;
  readonly retry: RouteOptions<PolicyGroups["retry"]>;
}
