/**
 * Which process a command asks, and with what token: flags over environment, and on a machine for development the only
 * process that is there.
 */
import { readFileSync } from "node:fs";
import type { FoundProcess } from "@inmesh/core/spi/inspect";
import type { Values } from "./arguments.ts";
import type { Context } from "./command.ts";
import { EXIT, Failure, UsageFailure } from "./failure.ts";
import type { CONNECTION } from "./options.ts";

export interface Target {
  /** As it was written, for messages. */
  readonly shown: string;
  /** Of an address. */
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** Of a socket with a path. */
  readonly socketPath: string | undefined;
  readonly token: string | undefined;
  readonly timeoutMs: number;
}

export type ConnectionValues = Values<typeof CONNECTION>;

const DEFAULT_TIMEOUT_MS = 5000;

/** Whether the flags or the environment name a process. */
export function namesProcess(values: ConnectionValues, { env }: Context): boolean {
  return (values.admin ?? env["INMESH_ADMIN"] ?? "") !== "";
}

/** Throws a `Failure`. */
export async function targetOf(values: ConnectionValues, context: Context): Promise<Target> {
  const { env, output } = context;
  const fromFlag = values.admin !== undefined;
  const written = values.admin ?? env["INMESH_ADMIN"] ?? "";
  const isName = NAME.test(written);
  const mistakes: string[] = [];
  if (values.token !== undefined && values["token-file"] !== undefined) {
    mistakes.push("--token and --token-file exclude each other");
  }
  const wrong = isName ? undefined : addressIn(written);
  if (typeof wrong === "string") {
    mistakes.push(
      `${fromFlag ? "--admin" : "INMESH_ADMIN"} ${wrong} (got ${JSON.stringify(written)})`,
    );
  }
  if (mistakes.length > 0) throw new UsageFailure(mistakes);
  const given = tokenOf(values, env);
  const found = isName ? await localProcessCalled(written, context) : undefined;
  const shown = found?.address ?? written;
  const address = addressIn(shown) as Address;
  const token = given ?? tokenOfFound(found);
  const timeoutMs = values.timeout ?? DEFAULT_TIMEOUT_MS;
  if (token !== undefined && address.host !== undefined && !LOOPBACK.test(address.host)) {
    output.note(
      `The token goes to ${output.safe(address.host)} in plain text; kubectl port-forward or ssh -L would hide it from the network`,
    );
  }
  return { ...address, shown, token, timeoutMs };
}

/** Nothing, a pid, or the name of a process or of a server: no address. */
const NAME = /^[A-Za-z0-9._-]*$/;

async function localProcessCalled(name: string, context: Context): Promise<FoundProcess> {
  const { localProcess } = await import("./local.ts");
  return localProcess(name, context);
}

/** That of a process of this user, whose address was said and whose token was not; undefined: it is not known. */
export async function tokenAt(address: string, context: Context): Promise<string | undefined> {
  const { localProcesses } = await import("./local.ts");
  const { processes } = await localProcesses(context);
  return tokenOfFound(processes.find((one) => one.address === address));
}

function tokenOfFound(found: FoundProcess | undefined): string | undefined {
  return found?.tokenFile === undefined ? found?.token : tokenIn(found.tokenFile, "The process");
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1)$/;

type Address = Pick<Target, "host" | "port" | "socketPath">;

/** A text says what is wrong. */
function addressIn(text: string): Address | string {
  if (text.startsWith("unix:")) {
    // unix:///run/x.sock is how other programs write it.
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    return path === ""
      ? "needs a path behind unix:"
      : { host: undefined, port: undefined, socketPath: path };
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:")
    return "must be http://127.0.0.1:<port>, unix:<path>, or the pid or name of a process of this user";
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "") {
    return "must be an address alone, without a path";
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(url.port || 80), socketPath: undefined };
}

/** The first of: --token, --token-file, INMESH_ADMIN_TOKEN, INMESH_ADMIN_TOKEN_FILE. */
function tokenOf(values: ConnectionValues, env: Context["env"]): string | undefined {
  if (values.token !== undefined) return checked(values.token, "--token");
  if (values["token-file"] !== undefined) return tokenIn(values["token-file"], "--token-file");
  const { INMESH_ADMIN_TOKEN: token, INMESH_ADMIN_TOKEN_FILE: file } = env;
  if (token !== undefined && token !== "") return checked(token, "INMESH_ADMIN_TOKEN");
  if (file !== undefined && file !== "") return tokenIn(file, "INMESH_ADMIN_TOKEN_FILE");
  return undefined;
}

function tokenIn(file: string, origin: string): string {
  let text;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(
      EXIT.usage,
      {
        what: `The token cannot be read: ${origin} names ${file}`,
        why: (error as Error).message,
        next: "Name a file that this user can read.",
      },
      error,
    );
  }
  return checked(text.trim(), `${origin}, the file ${file},`);
}

/** It goes into a header. The value itself is not printed. */
function checked(token: string, origin: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageFailure([
    `${origin} must have a token of visible ASCII characters without spaces`,
  ]);
}
