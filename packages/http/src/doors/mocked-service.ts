/**
 * A service whose calls go to an active MockAgent instead of an endpoint: discovery, balancing, retries
 * and metrics have no part in it, the deadline has. The origin that the mock is asked for is the
 * service's name, `http://orders`, or its authority where the name is no host.
 */
import { Attempt, stacklessError, placed, type Call, type ServiceConfig } from "@inmesh/core/spi";
import type { Dispatcher } from "undici";
import { Exchange, type ExchangeOwner } from "../client/exchange.ts";
import type { HttpReply } from "../client/reply.ts";
import type { HttpRequest } from "../client/request.ts";
import type { HttpService, StartingService } from "../client/start.ts";
import type { ApplicationDispatcher } from "./application-dispatcher.ts";

export function mockedService(service: HttpService, mock: ApplicationDispatcher): StartingService {
  const { name, config, runtime } = service;
  return { name, config, runtime, current: (call) => sendToMock(service, mock, call) };
}

function sendToMock(
  { config, runtime }: HttpService,
  mock: ApplicationDispatcher,
  call: Call<HttpRequest>,
): Promise<HttpReply> {
  const startedAt = runtime.now();
  const { requestMs, maxRequestMs } = config.timeouts;
  const askedMs = Math.min(call.askedUntil - startedAt, maxRequestMs);
  call.deadlineAt = Math.min(call.deadlineAt, startedAt + Math.max(requestMs, askedMs));
  const attempt = new Attempt(call, 1, "first");
  attempt.startedAt = startedAt;
  attempt.delivered = true;
  call.attempt = attempt;
  if (call.deadlineAt !== Infinity) {
    call.timer = runtime.after(call.deadlineAt - startedAt, expire, call);
  }
  const connection: ExchangeOwner = {
    service: config,
    waiting: 0,
    unread: 0,
    unreadHint: "",
    refusal: () => undefined,
    pool: {
      explain: (error) => error,
      dispatch: (request, handler) => mock.dispatch(optionsOf(request, config), handler),
    },
  };
  return new Exchange(attempt, connection, runtime).send().catch((error: unknown) => {
    throw placed(error);
  });
}

function expire(call: Call): void {
  call.cancel(
    stacklessError(
      "deadline_exceeded",
      "call_deadline",
      "not-sent",
      `${call.service}: deadline exceeded before the MockAgent answered`,
    ),
    "timeout",
  );
}

/** A MockAgent writes into the options it is given. */
function optionsOf(
  { path, method, headers, body }: HttpRequest,
  config: ServiceConfig,
): Dispatcher.DispatchOptions {
  const options = { origin: originOf(config), path, method, headers: [...headers], body };
  return options as Dispatcher.DispatchOptions;
}

function originOf({ scheme, name, authority }: ServiceConfig): string {
  const text = `${scheme}://${name}`;
  return /[/?#@\\\s]/.test(name) || !URL.canParse(text) ? `${scheme}://${authority}` : text;
}
