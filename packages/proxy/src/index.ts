/** `mesh-proxy`: the mesh of inmesh as a process of its own, for services that are not written in Node. */
export { CONNECTION_FIELDS } from "@inmesh/core/spi/transport";
