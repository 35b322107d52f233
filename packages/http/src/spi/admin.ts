/**
 * `@inmesh/http/spi/admin`: for a package that serves the API of a process for something else than one mesh, such as
 * several processes that are shown as one. Not covered by semver before 1.0.
 */
export { openListener, AdminListener } from "../admin/listener.ts";
export type { AdminOptions } from "../admin/options.ts";
export type { Asked } from "../admin/resources.ts";
export { viewOf, type AdminView, type OpenTap } from "../admin/view.ts";

// What another process needs to answer in the place of the listener.
export { answerBytes } from "../admin/json.ts";
export { tapFailure } from "../admin/tap.ts";
