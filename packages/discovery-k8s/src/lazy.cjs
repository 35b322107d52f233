/**
 * What few programs need of other packages, loaded where it is first used. Plain CommonJS for the reason that
 * core/src/lazy.cjs gives.
 *
 * Of undici two modules by path, for the reasons of docs/decisions/0004-undici-by-path.md: its index costs twice the time
 * and changes a global symbol.
 */
exports.loadUndici = () => ({
  Client: require("undici/lib/dispatcher/client.js"),
  buildConnector: require("undici/lib/core/connect.js"),
});
exports.loadYaml = () => require("yaml");
