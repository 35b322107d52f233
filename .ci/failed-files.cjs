/** Prints the files of a report of vitest in which something failed, one per line. */
const { readFileSync } = require("node:fs");

const { testResults } = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const { name, status } of testResults) if (status === "failed") console.log(name);
