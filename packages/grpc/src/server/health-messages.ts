/** The messages of grpc.health.v1, by hand: two with one field each do not need a protobuf library. */
import type { ServiceDefinition } from "@grpc/grpc-js";

/** `ServingStatus` of the standard. */
export const SERVING = 1;
export const NOT_SERVING = 2;
export const SERVICE_UNKNOWN = 3;
export type ServingStatus = typeof SERVING | typeof NOT_SERVING | typeof SERVICE_UNKNOWN;

const LENGTH_DELIMITED = 2;
/** Field 1 with a length, `string service = 1`. */
const SERVICE_TAG = 0x0a;
/** Field 1 as a varint, `ServingStatus status = 1`. */
const STATUS_TAG = 0x08;

/** Objects, because grpc-js takes an empty text for no message. */
export interface HealthRequest {
  readonly service: string;
}

export interface HealthResponse {
  readonly status: number;
}

/** A HealthCheckRequest; fields that it does not know are skipped. Throws if it is none. */
export function readRequest(bytes: Buffer): HealthRequest {
  let service = "";
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 2 ** 63) throw new RangeError("a cut or endless number");
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag & 7;
    if (wireType === 0) varint();
    else {
      const length =
        wireType === LENGTH_DELIMITED ? varint() : wireType === 1 ? 8 : wireType === 5 ? 4 : -1;
      if (length < 0 || at + length > bytes.length) throw new RangeError("a cut or unknown field");
      if (tag === SERVICE_TAG) service = bytes.toString("utf8", at, at + length);
      at += length;
    }
  }
  return { service };
}

export function writeRequest({ service }: HealthRequest): Buffer {
  const name = Buffer.from(service);
  if (name.length > 127) throw new RangeError("a name of more than 127 bytes");
  return service === "" ? Buffer.alloc(0) : Buffer.from([SERVICE_TAG, name.length, ...name]);
}

export function readResponse(bytes: Buffer): HealthResponse {
  return { status: bytes.length === 2 && bytes[0] === STATUS_TAG ? bytes[1]! : 0 };
}

export function writeResponse({ status }: HealthResponse): Buffer {
  return Buffer.from([STATUS_TAG, status]);
}

export const HEALTH_PATH = "/grpc.health.v1.Health/";

const methods = {
  requestStream: false,
  requestSerialize: writeRequest,
  requestDeserialize: readRequest,
  responseSerialize: writeResponse,
  responseDeserialize: readResponse,
} as const;

/** For servers, and for clients that ask one. */
export const HEALTH: ServiceDefinition = {
  check: { ...methods, path: `${HEALTH_PATH}Check`, responseStream: false },
  watch: { ...methods, path: `${HEALTH_PATH}Watch`, responseStream: true },
};
