/** A way from a client to one or more servers: grpc-js alone, or through the mesh. */
import { credentials, type ClientOptions } from "@grpc/grpc-js";
import type { ClientArguments } from "./testing.ts";

export interface Opened {
  readonly args: ClientArguments;
  close(): Promise<void>;
}

export interface Way {
  readonly name: string;
  /** How many servers it wants. */
  readonly servers: number;
  open(ports: readonly number[], options?: ClientOptions): Opened;
}

export const BARE: Way = {
  name: "bare",
  servers: 1,
  open: ([port], options = {}) => ({
    args: [`127.0.0.1:${port}`, credentials.createInsecure(), options],
    close: async () => {},
  }),
};
