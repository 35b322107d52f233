/**
 * Tests of one file that sleep most of their time, and so run beside each other. vitest's `onTestFinished`
 * knows one test at a time; helpers that clean up behind a test take the one of this file.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { aroundEach, onTestFinished as ofTheOnlyTest, type TestContext } from "vitest";

const running = new AsyncLocalStorage<TestContext>();

/** To be called once in every `describe.concurrent` whose tests use helpers that clean up. */
export function runBeside(): void {
  aroundEach((runTest, context) => running.run(context, runTest));
}

/** Of the test that is running here, whatever others are running. */
export function onTestFinished(cleanUp: () => void | Promise<void>): void {
  const context = running.getStore();
  if (context === undefined) ofTheOnlyTest(cleanUp);
  else context.onTestFinished(cleanUp);
}
