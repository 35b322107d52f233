/**
 * The last step before the transport: picks an endpoint, accounts for the attempt, sends it. Each
 * attempt picks afresh, so a retry can avoid the endpoint that has just failed.
 */
import type { Attempt, Reply } from "../call.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { type MeshError, stacklessError } from "../errors.ts";
import type { Handler } from "../handler.ts";
import { STALL_MS, type Runtime } from "../runtime/runtime.ts";
import type { Picker } from "./picker.ts";

/** A call waits this long for the first answer of discovery, then it fails. */
/** Of the calls of an endpoint, one in so many is looked at; a power of two. */
const SAMPLED = 64;
const DISCOVERY_PATIENCE_MS = 3_000;

/** A cluster with the picker over it: what a route's backendRef leads to. */
export interface Backend<Req, R extends Reply> {
  readonly cluster: Cluster<Req, R>;
  readonly picker: Picker<Req, R>;
}

/**
 * `choose` gives the backend for a uniform draw; one backend is a constant.
 * `attemptTimeoutMs` covers an attempt until the head of its reply; Infinity: none.
 */
export function balance<Req, R extends Reply>(
  choose: (u: number) => Backend<Req, R>,
  single: boolean,
  attemptTimeoutMs: number,
  runtime: Runtime,
): Handler<Attempt<Req>, R> {
  const only = single ? choose(0) : undefined;

  function send(attempt: Attempt<Req>): Promise<R> {
    // A layer has held it, and meanwhile it was cancelled, or another attempt was chosen.
    if (attempt.error !== undefined) return Promise.reject(attempt.error);
    const { cluster, picker } = only ?? choose(runtime.random());
    const now = runtime.now();
    const endpoint = picker.pick(attempt, now);
    if (endpoint === undefined) return noEndpoint(cluster, attempt);
    cluster.begin(attempt, endpoint, now);
    if ((endpoint.picks & (SAMPLED - 1)) === 1 && attempt.number === 1)
      handedOver(cluster, attempt);
    const { observed } = attempt.call;
    if (observed !== undefined) {
      observed.attemptStarted(attempt);
      if (attempt.call.cancelled !== undefined) return givenUp(attempt, attempt.call.cancelled);
    }
    const { within } = attempt;
    const connection = endpoint.connection!;
    const sent =
      within === undefined ? connection.send(attempt) : within(() => connection.send(attempt));
    return attemptTimeoutMs === Infinity ? sent : timed(attempt, sent);
  }

  async function noEndpoint(cluster: Cluster<Req, R>, attempt: Attempt<Req>): Promise<R> {
    if (!cluster.known) {
      await waitForDiscovery(cluster, attempt);
      if (attempt.error !== undefined) throw attempt.error;
      if (cluster.known) return send(attempt);
    }
    throw refusal(cluster, attempt);
  }

  /** What waited for discovery says nothing about what the mesh itself takes. */
  function handedOver(cluster: Cluster<Req, R>, attempt: Attempt<Req>): void {
    if (attempt.heldUp) return;
    cluster.handedOver(runtime.now() - attempt.call.startedAt);
  }

  function waitForDiscovery(cluster: Cluster<Req, R>, attempt: Attempt<Req>): Promise<void> {
    const since = runtime.now();
    attempt.heldUp = true;
    return new Promise((resolve) => {
      attempt.canceller = {
        cancelAttempt(error) {
          attempt.error = error;
          resolve();
        },
      };
      void cluster.whenKnown(DISCOVERY_PATIENCE_MS).then(() => {
        attempt.canceller = undefined;
        cluster.waited(runtime.now() - since);
        resolve();
      });
    });
  }

  async function timed(attempt: Attempt<Req>, sent: Promise<R>): Promise<R> {
    const timer = runtime.after(attemptTimeoutMs, expire, attempt);
    try {
      return await sent;
    } finally {
      timer.cancel();
    }
  }

  function expire(attempt: Attempt<Req>): void {
    const late = runtime.now() - attempt.startedAt - attemptTimeoutMs;
    attempt.cancel(
      stacklessError(
        "deadline_exceeded",
        "attempt_timeout",
        "maybe-processed",
        `${attempt.call.service} → ${attempt.endpoint?.address}: no reply within ${attemptTimeoutMs} ms (timeouts.backendRequest): is the endpoint slow, or the limit too short?`,
      ),
      late > STALL_MS ? "abandoned" : "timeout",
    );
  }

  return send;
}

/** An observer has closed the mesh: nothing was sent, and nothing was there to be cancelled. */
function givenUp<R>(attempt: Attempt, error: MeshError): Promise<R> {
  attempt.error = error;
  attempt.settle("abandoned");
  return Promise.reject(error);
}

function because(why: string | undefined): string {
  return why === undefined ? ": is it running, and is its name right?" : `: ${why}`;
}

function refusal<Req, R extends Reply>(cluster: Cluster<Req, R>, attempt: Attempt<Req>): MeshError {
  const { service } = attempt.call;
  if (cluster.ready !== undefined) {
    const message = `${service}: the identity of ${cluster.name} (tls.identity) has nothing that can be used yet${cluster.problem === undefined ? "" : `: ${cluster.problem}`}`;
    return stacklessError("identity_unavailable", "no_certificate", "not-sent", message);
  }
  const [reason, why] = whyNone(cluster);
  const message = `${service}: ${why}${cluster.stale === undefined ? "" : ` (${cluster.stale.message})`}`;
  return stacklessError("no_endpoint", reason, "not-sent", message, cluster.stale);
}

/** Why nothing of a cluster can be picked: the reason of the error, and in words. */
export function whyNone<Req, R extends Reply>(
  cluster: Cluster<Req, R>,
): readonly ["no_endpoints" | "all_open" | "discovery_pending", string] {
  const { name, endpoints, lists } = cluster;
  const { size } = endpoints;
  if (size > 0 && lists.ending.length === size) {
    return [
      "no_endpoints",
      `none of the ${size} endpoints of ${name} serves any more: discovery says that they are about to go, and names no other`,
    ];
  }
  if (size > 0) {
    return [
      "all_open",
      `none of the ${size} endpoints of ${name} accepts connections; mesh.snapshot() has the reason of each, and each is tried again by itself`,
    ];
  }
  return cluster.known
    ? ["no_endpoints", `discovery found no endpoint for ${name}${because(cluster.emptyBecause)}`]
    : ["discovery_pending", `discovery has no answer for ${name} yet`];
}
