/**
 * A route's changes of headers. They stand above retry: a call's request is changed once, however
 * often it is sent, and only the reply that its caller gets is changed, after the layers below have
 * read it as it came (a `retry-after`, say). A route without filters has no such layer.
 */
import type { Call, Reply } from "../call.ts";
import type { RouteFilterConfig } from "./types.ts";
import type { Layer } from "../handler.ts";
import { compileHeaderChanges, type HeaderChanges } from "../header-changes.ts";
import type { RoutedRequest } from "./facts.ts";

export function headerChanges<Req extends RoutedRequest, R extends Reply>(
  filters: readonly RouteFilterConfig[],
): readonly Layer<Call<Req>, R>[] {
  return filters.flatMap(({ requestHeaderModifier, responseHeaderModifier }) => [
    ...(requestHeaderModifier === undefined
      ? []
      : [ofRequest<Req, R>(compileHeaderChanges(requestHeaderModifier))]),
    ...(responseHeaderModifier === undefined
      ? []
      : [ofReply<Req, R>(compileHeaderChanges(responseHeaderModifier))]),
  ]);
}

function ofRequest<Req extends RoutedRequest, R extends Reply>(
  changes: HeaderChanges,
): Layer<Call<Req>, R> {
  return (inner) => (call) => {
    call.request.changeHeaders(changes);
    return inner(call);
  };
}

function ofReply<Req, R extends Reply>(changes: HeaderChanges): Layer<Call<Req>, R> {
  return (inner) => (call) =>
    inner(call).then((reply) => {
      reply.changeHeaders(changes);
      return reply;
    });
}
