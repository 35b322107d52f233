/** Bundles with webpack as a server application does: `webpack-run.cjs ENTRY OUTPUT`. */
const { basename, dirname } = require("node:path");
const webpack = require("webpack");

const [, , entry, output] = process.argv;
webpack(
  {
    mode: "production",
    target: "node",
    entry,
    output: { path: dirname(output), filename: basename(output) },
    optimization: { minimize: false },
  },
  (error, stats) => {
    if (error !== null || stats.hasErrors()) {
      console.error(error ?? stats.toString());
      process.exitCode = 1;
    }
  },
);
