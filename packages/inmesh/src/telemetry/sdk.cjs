/**
 * The SDK of OpenTelemetry, which only the users of `inmesh/telemetry` have. This is plain CommonJS on purpose, as
 * core's lazy.cjs: `require` is the one import that is synchronous and can say in plain words what is missing. What
 * the SDK itself depends on is asked for from where the SDK is, because only it is sure to find it there.
 */
exports.loadApi = () => require("@opentelemetry/api");
exports.loadTraces = () => require("@inmesh/core/traces");
exports.loadSdk = () => require("@opentelemetry/sdk-node");
exports.loadOfSdk = (name) =>
  require("node:module").createRequire(require.resolve("@opentelemetry/sdk-node"))(name);
