/** `inmesh stat`: success, rate and latency of each service that the process calls and each server that it runs. */
import {
  attemptsPerCall,
  countsSince,
  latencySince,
  since,
  successRatio,
  type ServerView,
  type Services,
} from "@inmesh/core/inspect";
import type { Parsed } from "../arguments.ts";
import { STAT_COLUMNS, type StatRow } from "../columns.ts";
import type { Context } from "../command.ts";
import type { ExitCode } from "../failure.ts";
import { list, onlyServices, type Listing } from "../listing.ts";
import type { CONNECTION, LISTING, WINDOW } from "../options.ts";
import { quantilesOf, sameService, unmeasured, windowMs, type Reading } from "../traffic.ts";

type Options = typeof CONNECTION & typeof LISTING & typeof WINDOW;

export function run({ values, positionals }: Parsed<Options>, context: Context): Promise<ExitCode> {
  const listing: Listing<Services, StatRow> = {
    kind: "Stat",
    columns: STAT_COLUMNS,
    counts: true,
    empty: "The process has called no service yet, and runs no server that belongs to its mesh.",
    read: async (admin) => {
      const answer = await admin.get<Services>("Services", "services");
      const all = [...answer.services, ...answer.servers];
      const wanted = new Set<unknown>(await onlyServices(all, positionals));
      return {
        ...answer,
        services: answer.services.filter((one) => wanted.has(one)),
        servers: answer.servers.filter((one) => wanted.has(one)),
      };
    },
    rows: statRows,
    notes: ({ now }) => unmeasured(now),
  };
  return list(listing, values, context);
}

/** Services first, by name, then servers. */
function statRows(reading: Reading<Services>): StatRow[] {
  const { now, before } = reading;
  const seconds = windowMs(reading) / 1000;
  const bounds = now.latencyBoundsSeconds;
  const services = now.services.map((service): StatRow => {
    const earlier = before?.services.find((one) => sameService(one, service))?.traffic;
    const traffic = service.traffic && since(service.traffic, earlier, bounds);
    return {
      name: service.name,
      direction: "out",
      protocol: service.protocol,
      endpoints: service.endpoints,
      state: service.state,
      successRatio: traffic && successRatio(traffic.calls),
      perSecond: traffic && traffic.calls.total / seconds,
      ...quantilesOf(traffic?.callLatency, bounds),
      connections: service.connections.open,
      attemptsPerCall: traffic && attemptsPerCall(traffic),
      tls: service.scheme === "https",
      inFlight: service.callsInFlight,
      notes: service.notes,
    };
  });
  const servers = now.servers.map((server): StatRow => {
    const earlier = before?.servers.find((one) => sameService(one, server));
    const calls = server.calls && countsSince(server.calls, earlier?.calls);
    const latency = server.latency && latencySince(server.latency, earlier?.latency, bounds);
    return {
      name: server.name,
      direction: "in",
      protocol: server.protocol,
      endpoints: undefined,
      state: server.state,
      successRatio: calls && successRatio(calls),
      perSecond: calls && calls.total / seconds,
      ...quantilesOf(latency, bounds),
      connections: server.connections,
      attemptsPerCall: undefined,
      tls: undefined,
      inFlight: server.requestsInFlight,
      notes: notesOf(server),
    };
  });
  return [...services, ...servers];
}

function notesOf({ readiness, problem, pending }: ServerView): string[] {
  const notes = readiness === "ok" ? [] : [`not ready: ${readiness}`];
  if (problem !== undefined) notes.push(problem);
  if (pending.length > 0) notes.push(`needs a restart for ${pending.join(", ")}`);
  return notes;
}
