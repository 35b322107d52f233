/**
 * The type of `mesh.dispatcher`. The Dispatcher that one version of undici declares is not assignable to
 * that of another, although the object is taken by all of them; and the types of Node bring a third. So
 * every method has a second signature, which any of them accepts. The first is the one that editors show.
 */
import type { Dispatcher } from "undici";

type AnyFunction = (...args: any[]) => any;

type Takes<T> = {
  readonly [Name in keyof T as T[Name] extends AnyFunction ? Name : never]: AnyFunction;
};

/** An undici Dispatcher, for the types of undici 6, 7 and 8 and of the built-in fetch. */
export type MeshDispatcher = Dispatcher &
  Takes<Dispatcher> & {
    /** True if requests to this origin become calls of a service. */
    knows(origin: string | URL): boolean;
    readonly closed: boolean;
    readonly destroyed: boolean;
  };
