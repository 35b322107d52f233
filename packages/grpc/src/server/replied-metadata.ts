/**
 * What the last metadata of a reply may say in our words. Handlers often pass the error of a call of
 * their own on as it is, trailers and all, and with it claims that another server made about itself:
 * that it had not processed the call, for one. They are of that hop and go no further.
 */
import { Metadata, status as Status } from "@grpc/grpc-js";
import { isClaim } from "@inmesh/core/spi";
import type { ServedStatus } from "../call-types.ts";
import { FINAL } from "../metadata.ts";

/** `exhausted`: calls made for it have been retried here already, so no caller above does. */
export function repliedMetadata(status: ServedStatus, exhausted: boolean): ServedStatus {
  const { metadata } = status;
  const marked = exhausted && status.code !== Status.OK;
  if (metadata === undefined || metadata === null) return marked ? final(status) : status;
  const foreign = Object.keys(metadata.getMap()).filter((key) => isClaim(key));
  if (!marked && foreign.length === 0) return status;
  const own = metadata.clone();
  for (const key of foreign) own.remove(key);
  if (marked) own.set(FINAL, "1");
  return { code: status.code, details: status.details, metadata: own };
}

function final({ code, details }: ServedStatus): ServedStatus {
  const metadata = new Metadata();
  metadata.set(FINAL, "1");
  return { code, details, metadata };
}
