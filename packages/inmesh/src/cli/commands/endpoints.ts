/** `inmesh endpoints`: each endpoint with its state, its cost and the share of the traffic that it gets. */
import type { Endpoints, EndpointView } from "@inmesh/core/inspect";
import type { Parsed } from "../arguments.ts";
import { ENDPOINT_COLUMNS, type EndpointRow } from "../columns.ts";
import type { Context } from "../command.ts";
import type { ExitCode } from "../failure.ts";
import { list, onlyServices, type Listing } from "../listing.ts";
import type { CONNECTION, LISTING, WINDOW } from "../options.ts";
import type { Reading } from "../traffic.ts";

type Options = typeof CONNECTION & typeof LISTING & typeof WINDOW;

export function run({ values, positionals }: Parsed<Options>, context: Context): Promise<ExitCode> {
  const listing: Listing<Endpoints, EndpointRow> = {
    kind: "Endpoint",
    columns: ENDPOINT_COLUMNS,
    counts: true,
    empty:
      "The process knows no endpoint: it has called no service yet, or discovery has not answered.",
    read: async (admin) => {
      const answer = await admin.get<Endpoints>("Endpoints", "endpoints");
      const named = answer.endpoints.map((view) => ({ name: view.service, view }));
      const wanted = await onlyServices(named, positionals);
      return { ...answer, endpoints: wanted.map(({ view }) => view) };
    },
    rows: endpointRows,
  };
  return list(listing, values, context);
}

/** Within a window the share is that of the picks in it. */
function endpointRows({ now, before }: Reading<Endpoints>): EndpointRow[] {
  if (before === undefined) return [...now.endpoints];
  const earlier = new Map(before.endpoints.map((view) => [keyOf(view), view.picks]));
  const picksOf = (view: EndpointView): number => {
    const picks = earlier.get(keyOf(view)) ?? 0;
    return view.picks < picks ? view.picks : view.picks - picks;
  };
  const ofService = new Map<string, number>();
  for (const view of now.endpoints) {
    const service = serviceOf(view);
    ofService.set(service, (ofService.get(service) ?? 0) + picksOf(view));
  }
  return now.endpoints.map((view) => {
    const all = ofService.get(serviceOf(view))!;
    return { ...view, share: all === 0 ? undefined : picksOf(view) / all };
  });
}

function serviceOf({ service, protocol }: EndpointView): string {
  return JSON.stringify([service, protocol]);
}

function keyOf(view: EndpointView): string {
  return serviceOf(view) + view.address;
}
