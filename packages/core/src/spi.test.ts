/** `spi` is its four parts, and each part is an entry of the package. */
import * as spi from "@inmesh/core/spi";
import * as discovery from "@inmesh/core/spi/discovery";
import * as server from "@inmesh/core/spi/server";
import * as telemetry from "@inmesh/core/spi/telemetry";
import * as transport from "@inmesh/core/spi/transport";
import { expect, test } from "vitest";

test("spi has what its parts have, as the same values, and nothing else", () => {
  const parts = { ...discovery, ...server, ...telemetry, ...transport };
  expect({ ...spi }).toEqual(parts);
  for (const [name, value] of Object.entries(parts)) {
    expect((spi as Record<string, unknown>)[name], name).toBe(value);
  }
});

test("each part holds what its readers begin with", () => {
  expect(transport).toMatchObject({ Attempt: spi.Attempt, Call: spi.Call, Redial: spi.Redial });
  expect(discovery).toMatchObject({ Cell: spi.Cell, staticDiscovery: spi.staticDiscovery });
  expect(server).toMatchObject({ ServerCore: spi.ServerCore, ServedCall: spi.ServedCall });
  expect(telemetry).toMatchObject({ INSTRUMENTS: spi.INSTRUMENTS, Recorder: spi.Recorder });
});
