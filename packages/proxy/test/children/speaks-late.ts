/** A worker that ends, and whose word comes after that: a child of it holds its channel, and writes into it. */
import { spawn } from "node:child_process";

const CHANNEL = 3;
if (process.argv[2] === "late") {
  setTimeout(() => {
    process.send!({ what: "serving", listeners: [], services: [], drainGraceMs: 0 });
    process.disconnect();
  }, 500);
} else {
  spawn(process.execPath, [process.argv[1]!, "late"], {
    stdio: ["ignore", "inherit", "inherit", CHANNEL],
    env: {
      PATH: process.env["PATH"],
      NODE_CHANNEL_FD: String(CHANNEL),
      NODE_CHANNEL_SERIALIZATION_MODE: "advanced",
    },
  }).once("spawn", () => process.exit(7));
}
