/** What there is under `/api/v1/`, and how each is asked for. */
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
import type { MemberRule } from "./body.ts";

export const API = "/api/v1/";

/** A question that has been found to be one. Plain data: another process may answer it. */
export interface Asked {
  readonly resource: string;
  readonly method: Method;
  /** Of this service alone. */
  readonly service?: string;
  /** Also what no source has written. */
  readonly all: boolean;
  /** What was sent, as its rules want it. */
  readonly body: unknown;
  readonly about: AboutContext;
  /** Who asks, for the audit line. */
  readonly by: string;
}

interface Way {
  /** Of the body; left out: none is read. */
  readonly body?: Readonly<Record<string, MemberRule>>;
  readonly answer: (inspection: Inspection, asked: Asked) => object | Promise<object>;
}

interface Resource {
  /** Names of the parameters of the query that it takes. */
  readonly parameters: readonly string[];
  readonly methods: Readonly<Partial<Record<Method, Way>>>;
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
  about: only([], (inspection, { about }) => inspection.about(about)),
  services: only(["service"], (inspection, asked) => inspection.services(asked)),
  endpoints: only(["service"], (inspection, asked) => inspection.endpoints(asked)),
  connections: only(["service"], (inspection, asked) => inspection.connections(asked)),
  discovery: only(["service"], (inspection, asked) => inspection.discovery(asked)),
  config: only(["service", "all"], (inspection, asked) => inspection.config(asked)),
  checks: only([], (inspection) => inspection.checks()),
  dump: only([], (inspection, { about }) => inspection.dump(about)),
  explain: {
    parameters: [],
    methods: {
      POST: {
        body: EXPLAIN,
        answer: (inspection, { body }) => inspection.explain(body as ExplainRequest),
      },
    },
  },
  "log-level": {
    parameters: [],
    methods: {
      GET: { answer: (inspection) => inspection.currentLogLevel() },
      PUT: {
        body: LOG_LEVEL,
        answer: (inspection, { body, by }) =>
          inspection.changeLogLevel(body as LogLevelRequest, by),
      },
      DELETE: { answer: (inspection, { by }) => inspection.changeLogLevel(undefined, by) },
    },
  },
};

function only(parameters: readonly string[], answer: Way["answer"]): Resource {
  return { parameters, methods: { GET: { answer } } };
}

/** What the query of a question says. Throws an InspectionError for a value that is none. */
export function selectionOf(parameters: URLSearchParams): Pick<Asked, "service" | "all"> {
  const all = isTrue(parameters, "all");
  const service = parameters.get("service");
  if (service === null) return { all };
  if (service.length > MAX_NAME) {
    throw new InspectionError(
      "bad_request",
      "service is too long",
      "GET /api/v1/services has them",
    );
  }
  return { service, all };
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
