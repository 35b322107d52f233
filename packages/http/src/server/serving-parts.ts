/** What the stages of a server over HTTP need, with and without a connection. */
import type { ServerCore, StandardDuration } from "@inmesh/core/spi";
import type { ServerMembers } from "../node-internals.ts";
import type { ChosenRules } from "./chosen-rules.ts";
import type { Connections } from "./connections.ts";
import type { CutReason } from "./cuts.ts";
import type { Health } from "./health.ts";
import type { HeadReader, Inbound } from "./inbound.ts";
import type { ServerLimits } from "./limits.ts";
import type { LingerOptions } from "./surplus.ts";
import type { Validator } from "./validate.ts";

export interface ServingParts {
  readonly core: ServerCore<CutReason>;
  readonly limits: ServerLimits;
  readonly members: ServerMembers;
  readonly connections: Connections;
  readonly reader: HeadReader;
  readonly validator: Validator;
  readonly chosen: ChosenRules | undefined;
  readonly health: Health | undefined;
  /** Of its requests, under OpenTelemetry's name. */
  readonly standard: StandardDuration<Inbound>;
  /** Lower-case names of claims that stay. */
  readonly keep: ReadonlySet<string>;
  readonly linger: LingerOptions;
  /** Its `emit` is wrapped by another instrumentation. */
  readonly tracedByOthers: boolean;
  /** The server was given: the messages of its requests over HTTP/2 are Node's own. */
  readonly given: boolean;
}
