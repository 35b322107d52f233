/** Of every package of inmesh: they are published together. A test compares it with their manifests. */
export const VERSION = "0.1.0";
