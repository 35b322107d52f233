/** Why an endpoint was picked, in words for people who ask. */
import type { PickRule } from "../call.ts";

export const PICKED_BECAUSE: Readonly<Record<PickRule, string>> = {
  only: "the only one to choose from",
  rank: "the fitter of two drawn",
  cost: "the lower cost of two drawn",
  "slow-start": "the cheaper of two drawn has not warmed up yet",
  untried: "not tried by this call yet",
  scan: "the best of all, after draws that decided nothing",
  panic: "the lowest cost of five drawn, because too many endpoints look bad to believe it",
  turn: "its turn",
};
