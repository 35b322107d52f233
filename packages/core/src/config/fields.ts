/**
 * Every field that a user may write: the options of the capabilities (capability-options.ts) with their
 * places, and what stands around them.
 */
import {
  POLICY_GROUPS,
  ROUTES,
  SERVER,
  SERVER_LIMIT_OPTIONS,
  SERVERS,
} from "../capability-options.ts";
import { type Field, fieldsOf } from "./field.ts";
import { SERVICE } from "./service-options.ts";
import { STRUCTURE } from "./structure-options.ts";

/** The policies of a service, which `defaults` may set for all. */
export const POLICY_FIELDS: readonly Field[] = [
  ...Object.entries(POLICY_GROUPS).flatMap(([group, options]) => fieldsOf(options, group)),
  ...fieldsOf(SERVICE),
];

/** Of these, what a route may set itself. */
export const ROUTE_FIELDS: readonly Field[] = POLICY_FIELDS.filter(({ route }) => route === true);

/** What stands under the name of a server. */
export const SERVER_FIELDS: readonly Field[] = [
  ...fieldsOf(SERVER),
  ...fieldsOf(SERVER_LIMIT_OPTIONS, "limits"),
];

/** What stands around the policies. */
export const STRUCTURE_FIELDS: readonly Field[] = [
  ...placed(STRUCTURE, ""),
  ...placed(ROUTES, "services.*.routes"),
  ...placed(SERVERS, "servers"),
];

export const FIELDS: readonly Field[] = [
  ...POLICY_FIELDS,
  ...STRUCTURE_FIELDS,
  ...SERVER_FIELDS.map(({ parsed: _parsed, path, ...rest }) => ({
    ...rest,
    path: `servers.*.${path}`,
  })),
];

function placed(options: Readonly<Record<string, Omit<Field, "path">>>, place: string): Field[] {
  return Object.entries(options).map(([path, option]) => ({
    ...option,
    path: `${place}${path}`,
    option,
  }));
}
