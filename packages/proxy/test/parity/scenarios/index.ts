/** All scenarios of the parity suite. */
import type { Scenario } from "../scenario.ts";
import { BALANCE } from "./balance.ts";
import { DISCOVERY } from "./discovery.ts";
import { GRPC } from "./grpc.ts";
import { HEADS } from "./heads.ts";
import { PLACES } from "./places.ts";
import { REPLIES } from "./replies.ts";
import { RETRIES } from "./retries.ts";
import { ROUTES } from "./routes.ts";
import { SERVED } from "./served.ts";
import { SERVED_GRPC } from "./served-grpc.ts";
import { TIMES } from "./times.ts";
import { TLS, UPGRADES } from "./tls.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...DISCOVERY,
  ...REPLIES,
  ...BALANCE,
  ...RETRIES,
  ...TIMES,
  ...ROUTES,
  ...HEADS,
  ...SERVED,
  ...GRPC,
  ...SERVED_GRPC,
  ...TLS,
  ...UPGRADES,
  ...PLACES,
];
