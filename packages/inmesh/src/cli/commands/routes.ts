/** `inmesh routes`: success and rate of each route, as the application and as the endpoints see them. */
import { since, successRatio, type Services } from "@inmesh/core/inspect";
import type { Parsed } from "../arguments.ts";
import { ROUTE_COLUMNS, type RouteRow } from "../columns.ts";
import type { Context } from "../command.ts";
import type { ExitCode } from "../failure.ts";
import { list, onlyServices, type Listing } from "../listing.ts";
import type { CONNECTION, LISTING, WINDOW } from "../options.ts";
import { quantilesOf, sameService, unmeasured, windowMs, type Reading } from "../traffic.ts";

type Options = typeof CONNECTION & typeof LISTING & typeof WINDOW;

export function run({ values, positionals }: Parsed<Options>, context: Context): Promise<ExitCode> {
  const listing: Listing<Services, RouteRow> = {
    kind: "Route",
    columns: ROUTE_COLUMNS,
    counts: true,
    empty: "The process has called no service yet.",
    read: async (admin) => {
      const answer = await admin.get<Services>("Services", "services");
      return { ...answer, services: await onlyServices(answer.services, positionals) };
    },
    rows: routeRows,
    notes: ({ now }) => unmeasured(now),
  };
  return list(listing, values, context);
}

function routeRows(reading: Reading<Services>): RouteRow[] {
  const { now, before } = reading;
  const seconds = windowMs(reading) / 1000;
  const bounds = now.latencyBoundsSeconds;
  return now.services.flatMap((service) => {
    const earlierService = before?.services.find((one) => sameService(one, service));
    return service.routes.map(({ name, traffic: all, backends }): RouteRow => {
      const earlier = earlierService?.routes.find((one) => one.name === name)?.traffic;
      const traffic = all && since(all, earlier, bounds);
      return {
        route: name,
        service: service.name,
        protocol: service.protocol,
        effectiveSuccessRatio: traffic && successRatio(traffic.calls),
        effectivePerSecond: traffic && traffic.calls.total / seconds,
        actualSuccessRatio: traffic && successRatio(traffic.attempts),
        actualPerSecond: traffic && traffic.attempts.total / seconds,
        ...quantilesOf(traffic?.callLatency, bounds),
        backends,
      };
    });
  });
}
