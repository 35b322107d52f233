/**
 * Loaded in a cluster alone. This is plain CommonJS on purpose, as core's lazy.cjs: `require` is the one import that is
 * synchronous, and a kind of discovery has to be there when a configuration is read.
 */
exports.loadKubernetes = () => require("@inmesh/discovery-k8s");
