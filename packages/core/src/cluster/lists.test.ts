import fc from "fast-check";
import { expect, it } from "vitest";
import { DEFAULT_POLICIES } from "../config/defaults.ts";
import { Endpoint } from "./endpoint.ts";
import { EndpointLists, LIST_AVAILABLE } from "./lists.ts";
import { LOAD, rowAt } from "./scores.ts";

it("random moves between lists keep lists, slots, rows and version right", () => {
  const move = fc.tuple(fc.nat(19), fc.nat(4));
  fc.assert(
    fc.property(fc.array(move, { maxLength: 200 }), (moves) => {
      const all = Array.from({ length: 20 }, (_, i) => {
        const info = { host: `10.0.0.${i}`, port: 80 };
        const { balancer, breaker } = DEFAULT_POLICIES;
        const one = new Endpoint<unknown, never>(info.host, info, balancer, breaker);
        one.inFlight = i;
        return one;
      });
      const lists = new EndpointLists<unknown, never>();
      const model = all.map(() => 0);
      for (const [i, list] of moves) {
        const { version } = lists;
        const concerned = model[i] !== list && [model[i], list].includes(LIST_AVAILABLE);
        lists.put(all[i]!, list);
        model[i] = list;
        expect(lists.version).toBe(concerned ? version + 1 : version);
        const arrays = [[], lists.available, lists.ejected, lists.down, lists.spare];
        for (const [k, one] of all.entries()) {
          expect(one.list).toBe(model[k]);
          if (one.list === 0) expect(one.slot).toBe(-1);
          else expect(arrays[one.list]![one.slot]).toBe(one);
        }
        for (let l = 1; l < arrays.length; l++) {
          expect(arrays[l]).toHaveLength(model.filter((at) => at === l).length);
        }
        for (const [row, one] of lists.available.entries()) {
          expect(lists.scores.numbers[rowAt(row) + LOAD]).toBe(one.inFlight + 1);
        }
      }
    }),
  );
});

it("random moves keep the endpoints of each group side by side, also after the groups have changed", () => {
  const move = fc.tuple(fc.nat(19), fc.nat(4), fc.nat(6));
  fc.assert(
    fc.property(fc.array(move, { maxLength: 200 }), (moves) => {
      const { balancer, breaker } = DEFAULT_POLICIES;
      const all = Array.from({ length: 20 }, (_, i) => {
        const info = { host: `10.0.0.${i}`, port: 80 };
        const one = new Endpoint<unknown, never>(info.host, info, balancer, breaker);
        one.inFlight = i;
        return one;
      });
      const lists = new EndpointLists<unknown, never>();
      let groups = 1;
      const groupOf = ({ host }: { host: string }): number => Number(host.split(".")[3]) % groups;
      for (const [i, list, arranged] of moves) {
        if (arranged > 0 && arranged < 5) {
          groups = arranged;
          lists.arrange(groups, groupOf);
        } else if (arranged === 5) lists.arrange(0, undefined);
        lists.put(all[i]!, list);
        let end = 0;
        for (const [group, { start, size }] of lists.stretches.entries()) {
          expect(start).toBe(end);
          end = start + size;
          for (const one of lists.available.slice(start, end))
            expect(groupOf(one.info)).toBe(group);
        }
        if (lists.stretches.length > 0) expect(end).toBe(lists.available.length);
        for (const [row, one] of lists.available.entries()) {
          expect(one.slot).toBe(row);
          expect(lists.scores.numbers[rowAt(row) + LOAD]).toBe(one.inFlight + 1);
        }
      }
    }),
  );
});
