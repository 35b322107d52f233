/** `discovery: { static: […] }`: a fixed list of endpoints, from code, file or environment. */
import { ENDPOINT_FIELDS, readEndpoints } from "../../config/endpoints.ts";
import { type EndpointInfo, socketPathOf } from "../../endpoint-info.ts";
import type { DiscoveryKind } from "../kind.ts";
import { staticDiscovery } from "./static.ts";

export const staticKind: DiscoveryKind<{ readonly endpoints: readonly EndpointInfo[] }> = {
  name: "static",
  fields: [
    {
      path: "static",
      type: "endpoints",
      defaultText: "none",
      rangeText: "`host:port`, `unix:/path` or an object, at least one",
      meaning: "A fixed list of endpoints.",
      nameElsewhere: "Envoy `STATIC` and `load_assignment`",
    },
    ...ENDPOINT_FIELDS.map((field) => ({ ...field, path: `static[].${field.path}` })),
  ],
  read(written, { mistake }) {
    const endpoints = readEndpoints(written["static"], ["static"], mistake);
    return endpoints.length === 0 ? undefined : { endpoints };
  },
  write: ({ endpoints }) => ({
    static: endpoints.map(({ port, ...rest }) =>
      socketPathOf(rest.host) === undefined ? { ...rest, port } : rest,
    ),
  }),
  describe: ({ endpoints }) =>
    `static, ${endpoints.length} endpoint${endpoints.length === 1 ? "" : "s"}`,
  open: ({ endpoints }) => staticDiscovery(endpoints),
};
