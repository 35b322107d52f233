/**
 * Parts of undici that only some doors need, loaded when first used. Plain CommonJS for the reason that
 * core/src/lazy.cjs gives.
 */
exports.loadApi = () => require("undici/lib/api/index.js");
exports.loadDispatcher1Wrapper = () => require("undici/lib/dispatcher/dispatcher1-wrapper.js");
exports.loadGlobal = () => require("undici/lib/global.js");
exports.loadWeb = () => ({
  fetch: require("undici/lib/web/fetch/index.js").fetch,
  Request: require("undici/lib/web/fetch/request.js").Request,
});
