/** `discovery: { file: … }`: a list of endpoints in a file of its own, which is followed. */
import type { DiscoveryKind } from "../kind.ts";
import { lazyDiscovery } from "../lazy.ts";

export const fileKind: DiscoveryKind<{ readonly path: string }> = {
  name: "file",
  fields: [
    {
      path: "file",
      type: "text",
      pattern: "\\.([yY][aA]?[mM][lL]|[jJ][sS][oO][nN])$",
      defaultText: "none",
      rangeText: "path of a `.yaml` or `.json` file, from the process's working directory",
      meaning:
        "A file with a list as under `static`, followed while the service is in use. While it is wrong or missing the last good list stays; an empty list is believed after 30 s.",
      nameElsewhere: "Envoy's EDS from a file (`path_config_source`)",
    },
  ],
  read({ file }, { mistake }) {
    if (typeof file !== "string") return undefined;
    if (!/\.(ya?ml|json)$/i.test(file)) {
      mistake(["file"], "must be named .yaml, .yml or .json", file);
    }
    return { path: file };
  },
  write: ({ path }) => ({ file: path }),
  describe: ({ path }) => `file ${path}`,
  open: ({ path }, { runtime }) =>
    lazyDiscovery("file", async () => (await import("./file.ts")).fileDiscovery(path, runtime)),
};
