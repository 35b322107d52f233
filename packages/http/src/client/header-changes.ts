/** A route's changes of headers on the forms in which HTTP's heads come: lists, objects, node's own. */
import type { IncomingMessage } from "node:http";
import type { HeaderChanges } from "@inmesh/core/spi";
import { SET_COOKIE, type RawHeaders } from "../headers.ts";

/** Names and values in turn. What stays keeps its order and its case. */
export function changedList(list: readonly string[], { taken, given }: HeaderChanges): string[] {
  const result: string[] = [];
  for (let i = 0; i < list.length; i += 2) {
    if (!taken.has(list[i]!.toLowerCase())) result.push(list[i]!, list[i + 1]!);
  }
  result.push(...given);
  return result;
}

/** The same of a head as undici received it, as bytes. */
export function changedBytes(list: readonly Buffer[], { taken, given }: HeaderChanges): Buffer[] {
  const result: Buffer[] = [];
  for (let i = 0; i < list.length; i += 2) {
    if (!taken.has(list[i]!.toString("latin1").toLowerCase())) result.push(list[i]!, list[i + 1]!);
  }
  for (const text of given) result.push(Buffer.from(text, "latin1"));
  return result;
}

/** By lower-case name, several values as an array. */
export function changeFields(fields: RawHeaders, { taken, given }: HeaderChanges): void {
  for (const name of taken) delete fields[name];
  for (let i = 0; i < given.length; i += 2) {
    const name = given[i]!;
    const value = given[i + 1]!;
    const before = Object.hasOwn(fields, name) ? fields[name] : undefined;
    fields[name] = before === undefined ? value : [before, value].flat();
  }
}

/** node reads its three forms off one list when each is first asked for, up to a length it noted before. */
export function changeIncoming(reply: IncomingMessage, changes: HeaderChanges): void {
  const { taken, given } = changes;
  const { headers } = reply;
  const distinct: NodeJS.Dict<string[]> = { ...reply.headersDistinct };
  for (const name of taken) {
    delete headers[name];
    delete distinct[name];
  }
  for (let i = 0; i < given.length; i += 2) {
    const name = given[i]!;
    const value = given[i + 1]!;
    const all = [...(Object.hasOwn(distinct, name) ? distinct[name]! : []), value];
    distinct[name] = all;
    headers[name] = name === SET_COOKIE ? (all as never) : all.join(", ");
  }
  reply.headersDistinct = distinct;
  reply.rawHeaders = changedList(reply.rawHeaders, changes);
}
