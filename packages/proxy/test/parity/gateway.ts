/**
 * What an error of the mesh is on the wire, where a program gets it as an exception (docs/reference/proxy.md): written down
 * a second time, so that a change of it in the proxy is noticed.
 */
import type { ErrorCode, ErrorReason } from "@inmesh/core";

export const GATEWAY_STATUSES: Readonly<Record<ErrorCode, number>> = {
  deadline_exceeded: 504,
  cancelled: 503,
  no_route: 404,
  no_endpoint: 503,
  overloaded: 503,
  connect_failed: 502,
  connection_lost: 502,
  bad_response: 502,
  bad_request: 400,
  bad_status: 502,
  identity_unavailable: 503,
  denied: 403,
  loop: 508,
  closed: 503,
  bad_config: 500,
};

export const GATEWAY_STATUSES_BY_REASON: Readonly<Partial<Record<ErrorReason, number>>> = {
  connect_timeout: 504,
  header_too_large: 431,
};

export function gatewayStatus(code: ErrorCode, reason: ErrorReason): number {
  return GATEWAY_STATUSES_BY_REASON[reason] ?? GATEWAY_STATUSES[code];
}
