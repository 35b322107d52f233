/** What there is under `/api/v1/`, and how each is asked for. */
import type { IncomingMessage } from "node:http";
import type { ExplainRequest, LogLevelRequest } from "@inmesh/core/inspect";
import { unknownKeyRule } from "@inmesh/core/spi";
import {
  InspectionError,
  LOG_LEVELS,
  MAX_LOG_LEVEL_MS,
  MIN_LOG_LEVEL_MS,
  type AboutContext,
  type Inspection,
} from "@inmesh/core/spi/inspect";
import { readObject, type MemberRule } from "./body.ts";

export const API = "/api/v1/";

/** What a resource is asked with. */
export interface Question {
  readonly inspection: Inspection;
  readonly request: IncomingMessage;
  readonly parameters: URLSearchParams;
  readonly about: AboutContext;
  /** Who asks, for the audit line. */
  readonly by: string;
}

type Answerer = (question: Question) => object | Promise<object>;

interface Resource {
  /** Names of the parameters of the query that it takes. */
  readonly parameters: readonly string[];
  readonly methods: Readonly<Partial<Record<Method, Answerer>>>;
}

export type Method = "GET" | "POST" | "PUT" | "DELETE";

const isText = (value: unknown): boolean => typeof value === "string";
const MAX_NAME = 1_024;

const EXPLAIN: Readonly<Record<keyof ExplainRequest, MemberRule>> = {
  service: {
    required: true,
    rule: "must be the name or the URL of a service",
    fits: (value) => isText(value) && value !== "" && String(value).length <= 16_384,
  },
  protocol: { rule: 'must be "http" or "grpc"', fits: isText },
  method: {
    rule: "must be a method such as GET",
    fits: (value) => isText(value) && /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(String(value)),
  },
  path: { rule: "must be a text that begins with /", fits: isText },
  headers: {
    rule: "must be an object of names and texts",
    fits: (value) =>
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.values(value).every(isText),
  },
};

const LOG_LEVEL: Readonly<Record<keyof LogLevelRequest, MemberRule>> = {
  level: {
    required: true,
    rule: `must be one of ${LOG_LEVELS.join(", ")}`,
    fits: (value) => (LOG_LEVELS as readonly unknown[]).includes(value),
  },
  forMs: {
    required: true,
    rule: `must be a whole number of milliseconds from ${MIN_LOG_LEVEL_MS} to ${MAX_LOG_LEVEL_MS}`,
    fits: (value) =>
      Number.isInteger(value) &&
      Number(value) >= MIN_LOG_LEVEL_MS &&
      Number(value) <= MAX_LOG_LEVEL_MS,
  },
};

/** `/api/v1/tap` is a stream of events, and stands in events.ts. */
export const RESOURCES: Readonly<Record<string, Resource>> = {
  about: only([], ({ inspection, about }) => inspection.about(about)),
  services: only(["service"], ({ inspection, parameters }) =>
    inspection.services(selectionOf(parameters)),
  ),
  endpoints: only(["service"], ({ inspection, parameters }) =>
    inspection.endpoints(selectionOf(parameters)),
  ),
  connections: only(["service"], ({ inspection, parameters }) =>
    inspection.connections(selectionOf(parameters)),
  ),
  discovery: only(["service"], ({ inspection, parameters }) =>
    inspection.discovery(selectionOf(parameters)),
  ),
  config: only(["service", "all"], ({ inspection, parameters }) =>
    inspection.config({ ...selectionOf(parameters), all: isTrue(parameters, "all") }),
  ),
  checks: only([], ({ inspection }) => inspection.checks()),
  dump: only([], ({ inspection, about }) => inspection.dump(about)),
  explain: {
    parameters: [],
    methods: {
      POST: async ({ inspection, request }) =>
        inspection.explain(await readObject<ExplainRequest>(request, EXPLAIN)),
    },
  },
  "log-level": {
    parameters: [],
    methods: {
      GET: ({ inspection }) => inspection.currentLogLevel(),
      PUT: async ({ inspection, request, by }) =>
        inspection.changeLogLevel(await readObject<LogLevelRequest>(request, LOG_LEVEL), by),
      DELETE: ({ inspection, by }) => inspection.changeLogLevel(undefined, by),
    },
  },
};

function only(parameters: readonly string[], answer: Answerer): Resource {
  return { parameters, methods: { GET: answer } };
}

function selectionOf(parameters: URLSearchParams): { readonly service?: string } {
  const service = parameters.get("service");
  if (service === null) return {};
  if (service.length > MAX_NAME) {
    throw new InspectionError(
      "bad_request",
      "service is too long",
      "GET /api/v1/services has them",
    );
  }
  return { service };
}

function isTrue(parameters: URLSearchParams, name: string): boolean {
  const text = parameters.get(name);
  if (text === null || text === "false") return false;
  if (text === "true" || text === "") return true;
  throw new InspectionError("bad_request", `${name} must be true or false`, `write ?${name}=true`);
}

/** Throws an InspectionError for parameters that are not known, or stand twice. */
export function checkParameters(given: URLSearchParams, known: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of given.keys()) {
    const shown = JSON.stringify(name.slice(0, 64));
    if (!known.includes(name)) {
      const rule = known.length === 0 ? "is not known; it takes none" : unknownKeyRule(name, known);
      throw new InspectionError(
        "bad_request",
        `the parameter ${shown} ${rule}`,
        "docs/reference/admin-api.md lists the parameters of each resource",
      );
    }
    if (seen.has(name)) {
      throw new InspectionError(
        "bad_request",
        `the parameter ${shown} stands twice`,
        "write it once",
      );
    }
    seen.add(name);
  }
}

/** Of a path below `API` that is none. */
export function notFound(name: string, known: readonly string[]): InspectionError {
  return new InspectionError(
    "not_found",
    `${JSON.stringify(API + name.slice(0, 64))} ${unknownKeyRule(name.slice(0, 64), known)}`,
    "GET /api/v1/about lists what there is",
  );
}
