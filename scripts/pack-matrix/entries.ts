/** Every entry of every package, so that all their declarations are checked. */
import * as inmesh from "inmesh";
import * as core from "@inmesh/core";
import * as spi from "@inmesh/core/spi";
import * as discovery from "@inmesh/core/spi/discovery";
import * as server from "@inmesh/core/spi/server";
import * as telemetry from "@inmesh/core/spi/telemetry";
import * as transport from "@inmesh/core/spi/transport";
import * as testing from "@inmesh/core/testing";
import * as http from "@inmesh/http";
import * as httpSpi from "@inmesh/http/spi";
import * as grpc from "@inmesh/grpc";

const entries = [inmesh, core, spi, discovery, server, telemetry, transport, testing];
console.log([...entries, http, httpSpi, grpc].map((entry) => Object.keys(entry).length > 0));
