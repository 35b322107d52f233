/**
 * What is passed on of a message that this process forwards: all fields but those of the connection that it
 * came by (RFC 9110 §7.6.1), and those by which a mesh passes on what it knows to the next hop, which each hop says
 * for itself.
 */
import { CONNECTION_FIELDS } from "@inmesh/core/spi";
import { CONTENT_LENGTH, NAMESPACE } from "../headers.ts";

const CONNECTION = "connection";

/**
 * `fields` are names and values in turn, such as `IncomingMessage.rawHeaders`; names in any case. The
 * list that is returned is a new one. The length stays: who forwards the body forwards all of it.
 */
export function forwardedFields(fields: readonly string[]): string[] {
  const named = namedByConnection(fields);
  const kept: string[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    const isOurs = name.startsWith(NAMESPACE);
    const isHop = CONNECTION_FIELDS.has(name) && name !== CONTENT_LENGTH;
    if (!isOurs && !isHop && !named.has(name)) kept.push(fields[i]!, fields[i + 1]!);
  }
  return kept;
}

/** Fields that the sender says belong to the connection, beside those that always do. */
function namedByConnection(fields: readonly string[]): ReadonlySet<string> {
  const named = new Set<string>();
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]!.toLowerCase() !== CONNECTION) continue;
    for (const name of fields[i + 1]!.split(",")) named.add(name.trim().toLowerCase());
  }
  // It must not take the body's length away, which says where the next message begins.
  named.delete(CONTENT_LENGTH);
  return named;
}
