/** Every entry of every package, so that all their declarations are checked. */
import * as inmesh from "inmesh";
import * as core from "@inmesh/core";
import * as spi from "@inmesh/core/spi";
import * as testing from "@inmesh/core/testing";
import * as http from "@inmesh/http";
import * as grpc from "@inmesh/grpc";

console.log([inmesh, core, spi, testing, http, grpc].map((entry) => Object.keys(entry).length > 0));
