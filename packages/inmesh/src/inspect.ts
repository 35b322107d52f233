/**
 * `inmesh/inspect`: for programs that read the API of a process: types of its answers, and rates and quantiles from two
 * readings. Loads no other part of inmesh.
 */
export * from "@inmesh/core/inspect";
