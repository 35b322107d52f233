/**
 * What is used of undici, by path, for the reasons of docs/decisions/0004-undici-by-path.md: its index costs twice
 * the time and changes a global symbol. Loaded with the first watch. Plain CommonJS for the reason that
 * core/src/lazy.cjs gives.
 */
exports.loadUndici = () => ({
  Client: require("undici/lib/dispatcher/client.js"),
  buildConnector: require("undici/lib/core/connect.js"),
});
