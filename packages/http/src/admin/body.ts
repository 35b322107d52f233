/** The body of a request: JSON, an object, and no more of it than fits into 64 KiB. */
import type { IncomingMessage } from "node:http";
import { unknownKeyRule } from "@inmesh/core/spi";
import { InspectionError } from "@inmesh/core/spi/inspect";

export const MAX_BODY_BYTES = 65_536;

/** What a member has to be. */
export interface MemberRule {
  readonly required?: true;
  /** Ends a sentence that begins with the name: `must be a text`. */
  readonly rule: string;
  readonly fits: (value: unknown) => boolean;
}

/** Rejects with an InspectionError that names every mistake. */
export async function readObject(
  request: IncomingMessage,
  members: Readonly<Record<string, MemberRule>>,
): Promise<object> {
  const type = request.headers["content-type"] ?? "";
  if (!/^application\/json *(;.*)?$/i.test(type)) {
    throw new InspectionError(
      "not_json",
      "the body must be JSON",
      "send it with content-type: application/json",
    );
  }
  const text = await readText(request);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InspectionError("not_json", "the body cannot be read as JSON", "look at its syntax");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InspectionError("bad_request", "the body must be an object", hintOf(members));
  }
  const mistakes: string[] = [];
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(members, name)) {
      mistakes.push(
        `${JSON.stringify(name.slice(0, 64))} ${unknownKeyRule(name, Object.keys(members))}`,
      );
    }
  }
  for (const [name, { required, rule, fits }] of Object.entries(members)) {
    const member: unknown = Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
    if (member === undefined ? required === true : !fits(member)) mistakes.push(`${name} ${rule}`);
  }
  if (mistakes.length > 0) {
    throw new InspectionError("bad_request", mistakes.join("; "), hintOf(members));
  }
  return value;
}

function hintOf(members: object): string {
  return `the body has ${Object.keys(members).join(", ")}: docs/reference/admin-api.md`;
}

function readText(request: IncomingMessage): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let bytes = 0;
  const tooLarge = (): void =>
    reject(
      new InspectionError(
        "body_too_large",
        `the body has more than ${MAX_BODY_BYTES} bytes`,
        "leave out headers that no route asks for",
      ),
    );
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) tooLarge();
  else {
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) tooLarge();
      else chunks.push(chunk);
    });
    request.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    request.on("close", () => reject(new Error("the request ended before its body did")));
    request.on("error", reject);
  }
  return promise;
}
