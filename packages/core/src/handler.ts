/**
 * The seam of inmesh. A client, a server and every step between them is the same thing: an
 * asynchronous function from an input to a reply. A step that wants to watch, delay, refuse or
 * repeat wraps the function below it and returns another of the same shape.
 */

/** An asynchronous function. A client, a server handler and everything between them is a Handler. */
export type Handler<In, Out> = (input: In) => Promise<Out>;

/** Wraps a Handler in another of the same shape. Built once per configuration, never per call. */
export type Layer<In, Out> = (inner: Handler<In, Out>) => Handler<In, Out>;
