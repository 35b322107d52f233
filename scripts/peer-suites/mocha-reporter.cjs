/** A reporter for mocha: one JSON line for each test that has ended, `{ file, name, ok }`. */
const { relative } = require("node:path");

// mocha calls it with `new`, which a function of this form allows.
module.exports = function Reporter(runner) {
  const report = (test, ok, error) => {
    const file = test.file === undefined ? "" : relative(process.cwd(), test.file);
    const why = String(error?.message ?? "").split("\n")[0];
    const line = { file, name: test.titlePath().join(" > "), ok, why };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  runner.on("pass", (test) => report(test, true));
  runner.on("fail", (test, error) => report(test, false, error));
};
