/** A token is a value in memory that goes into one header field, and into no error, log or snapshot. */
import { readFile } from "node:fs/promises";
import type { PodIdentity } from "./own-pod.ts";

export interface Credentials {
  readonly token?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

export interface Access {
  /** Which address of a pod is used that has one of each family. */
  readonly family: 4 | 6;
  /** This pod; undefined: the process is in none, or its name is not known. */
  readonly pod: PodIdentity | undefined;
  /** `https://10.96.0.1:443`, maybe with a path that stands before all others; several are tried in turn. */
  readonly servers: readonly string[];
  /** The proxy on the way to one of them; undefined: none. */
  proxy(server: string): string | undefined;
  readonly namespace: string;
  /** The name in the server's certificate, where it is not that of the address. */
  readonly serverName?: string | undefined;
  readonly insecure?: boolean;
  ca(): Promise<string | undefined>;
  /** Read again each minute, and at once after a refusal (`again`). */
  credentials(again: boolean): Promise<Credentials>;
}

/** An http or https URL without credentials in it. */
export function isServer(text: string): boolean {
  return /^https?:\/\/[^/@\s]+[^@\s]*$/.test(text) && URL.canParse(text);
}

const MAX_TOKEN = 65_536;

/** Throws for a file that holds no token, such as one that is half written. */
export async function readToken(path: string): Promise<string> {
  const token = (await readFile(path, "utf8")).trim();
  if (token === "" || token.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Error(`${path} holds no token`);
  }
  return token;
}
