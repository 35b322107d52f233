import { expect, it } from "vitest";
import { BeatingLoopClock } from "./loop-clock.ts";

interface World {
  at: number;
  clock: BeatingLoopClock;
  beat(): void;
  armed(): boolean;
}

function clockAt(): World {
  let beat: (() => void) | undefined;
  const world: World = {
    at: 1000,
    clock: new BeatingLoopClock(
      () => world.at,
      (run) => {
        beat = run;
      },
    ),
    beat(): void {
      const run = beat;
      beat = undefined;
      run?.();
    },
    armed: () => beat !== undefined,
  };
  return world;
}

it("counts nothing while beats come in time", () => {
  const world = clockAt();
  const mark = world.clock.enter(world.at);
  for (let i = 0; i < 5; i++) {
    world.at += 21;
    world.beat();
  }
  expect(world.clock.leave(world.at) - mark).toBe(0);
});

it("B5 CO: what a beat is late is a stall, also before the late beat has run", () => {
  const world = clockAt();
  const mark = world.clock.enter(world.at);
  world.at += 120; // blocked: the beat was due after 20
  const second = world.clock.enter(world.at);
  expect(world.clock.leave(world.at) - mark).toBe(100);
  world.beat();
  world.at += 10;
  expect(world.clock.leave(world.at) - second).toBe(0);
});

it("beats only while something is in flight", () => {
  const world = clockAt();
  world.clock.enter(world.at);
  world.clock.leave(world.at);
  world.at += 20;
  world.beat();
  expect(world.armed()).toBe(false);
  world.at += 60_000;
  const mark = world.clock.enter(world.at);
  expect(world.clock.leave(world.at) - mark).toBe(0);
  expect(world.armed()).toBe(true);
});
