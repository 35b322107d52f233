/** What went wrong at the API server, with what to do about it. No text here ever holds a token. */

export class ApiError extends Error {
  override readonly name = "ApiError";
  /** HTTP status, or that of an ERROR event; 0: the server was not reached, or what it sent cannot be read. */
  readonly status: number;
  /** The state that was asked for is gone: everything must be listed again. */
  readonly isGone: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(
    status: number,
    message: string,
    options: { gone?: boolean; retryAfterMs?: number } = {},
  ) {
    super(message);
    this.status = status;
    this.isGone = options.gone ?? status === 410;
    this.retryAfterMs = options.retryAfterMs;
  }
}

const MAX_SHOWN = 300;
const ACCOUNT = /system:serviceaccount:([a-z0-9.-]{1,253}):([a-z0-9.-]{1,253})/;
const MAX_RETRY_AFTER_S = 60;

/** From a reply that is no success. `body`: its text, maybe a Status object. */
export function errorOfReply(
  status: number,
  body: string,
  retryAfter: string | undefined,
  namespace: string,
): ApiError {
  const said = messageOfStatus(body);
  const seconds = Number(retryAfter);
  const retryAfterMs = seconds > 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) * 1_000 : undefined;
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 401) {
    const text = `the API server does not accept the credentials (401)${said}. They are read again each minute`;
    return new ApiError(401, text, options);
  }
  if (status === 403) return new ApiError(403, missingRule(namespace, said), options);
  return new ApiError(status, `the API server answered ${status}${said}`, options);
}

function messageOfStatus(body: string): string {
  let message = body;
  try {
    const object: unknown = JSON.parse(body);
    const said = (object as { message?: unknown } | null)?.message;
    message = typeof said === "string" ? said : "";
  } catch {
    // Some proxies in front of the API server answer with a page.
  }
  const shown = message.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
  return shown === "" ? "" : `: ${shown.slice(0, MAX_SHOWN)}`;
}

/** The rule that is missing, as commands, because a log line has no room for a manifest. */
function missingRule(namespace: string, said: string): string {
  const [, ofAccount = "NAMESPACE", account = "SERVICE_ACCOUNT"] = ACCOUNT.exec(said) ?? [];
  return (
    `the API server does not let this process list and watch EndpointSlices in the namespace ${namespace} (403)${said}. ` +
    `Allow it: kubectl create role inmesh-endpoints -n ${namespace} --verb=list,watch --resource=endpointslices.discovery.k8s.io; ` +
    `kubectl create rolebinding inmesh-endpoints-${ofAccount}-${account} -n ${namespace} --role=inmesh-endpoints --serviceaccount=${ofAccount}:${account}`
  );
}
