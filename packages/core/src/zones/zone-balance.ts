/**
 * Keeps the plan of a backend true: it is made anew when endpoints come, go, open or close, and while they warm up,
 * at most once a second. Picks only read it.
 */
import type { Reply } from "../call.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Stretch } from "../cluster/lists.ts";
import type { Place } from "../place.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { ZonesConfig } from "./options.ts";
import { ZoneLoad } from "./load.ts";
import { planZones, type ZonePlan, type ZoneShare } from "./plan.ts";

const PLAN_MS = 1_000;

/** One group of endpoints, and up to which draw it is chosen. */
export interface ZoneDraw {
  readonly stretch: Stretch;
  /** The sum of the shares up to this one. */
  readonly upTo: number;
}

export interface ZonesSnapshot {
  /**
   * `all`: all zones alike; `local`: calls stay in the zone of this process; `spill`: what is too much for it goes to
   * others; `hints`: the source says which endpoints are meant for it.
   */
  readonly mode: "all" | "local" | "spill" | "hints";
  /** In words: `the zone a has its share of the endpoints`. */
  readonly why: string;
  /** The zone of this process first; empty with `all`. */
  readonly shares: readonly ZoneShare[];
}

export interface ZoneSettings {
  readonly zones: ZonesConfig;
  readonly slowStartMs: number;
}

export class ZoneBalance<Req, R extends Reply> {
  /** Undefined: all zones alike. The groups of a plan, in the order in which they are drawn. */
  draws: readonly ZoneDraw[] | undefined = undefined;
  readonly #cluster: Cluster<Req, R>;
  readonly #place: Place;
  readonly #runtime: Runtime;
  #settings: ZoneSettings;
  #plan: ZonePlan;
  #arranged = "";
  #plannedAt = -Infinity;
  /** Armed while a plan is in force, and while one has to wait. */
  #next: Timer | undefined = undefined;
  #stale = false;
  /** Endpoints warm up: shares grow with them. */
  #isWarming = false;
  #load: ZoneLoad = new ZoneLoad();
  #shares: readonly ZoneShare[] = [];
  readonly #unfollow: () => void;

  constructor(cluster: Cluster<Req, R>, place: Place, settings: ZoneSettings, runtime: Runtime) {
    this.#cluster = cluster;
    this.#place = place;
    this.#settings = settings;
    this.#runtime = runtime;
    this.#plan = this.#planned();
    this.#unfollow = place.follow(() => this.changed());
  }

  /** What is in force, for people. */
  get view(): ZonesSnapshot {
    const { mode, why } = this.#plan;
    const { spill } = this.#load;
    if (mode === "all") return { mode, why, shares: [] };
    return {
      mode: spill > 0 && mode === "local" ? "spill" : mode,
      why: spill > 0 ? `${why}, and takes longer to answer than the others` : why,
      shares: this.#shares,
    };
  }

  configure(settings: ZoneSettings): void {
    this.#settings = settings;
    if (!settings.zones.spillByLoad) this.#load = new ZoneLoad();
    this.#renew();
  }

  /** Something that the plan depends on has changed. */
  changed(): void {
    // Without a zone of its own a process has no plan to renew.
    if (this.#place.zone === undefined && this.draws === undefined) return;
    this.#stale = true;
    if (this.#next !== undefined) return;
    const waitMs = this.#plannedAt + PLAN_MS - this.#runtime.now();
    if (waitMs <= 0) this.#renew();
    else this.#next = this.#runtime.after(waitMs, () => this.#renew(), undefined);
  }

  close(): void {
    this.#unfollow();
    this.#next?.cancel();
    this.#next = undefined;
  }

  #planned(): ZonePlan {
    const { zones, slowStartMs } = this.#settings;
    const { endpoints } = this.#cluster;
    return planZones(endpoints.values(), this.#place, zones, slowStartMs, this.#runtime.now());
  }

  #renew(): void {
    this.#stale = false;
    this.#next?.cancel();
    this.#next = undefined;
    const now = this.#runtime.now();
    this.#plannedAt = now;
    const plan = (this.#plan = this.#planned());
    const { lists, endpoints } = this.#cluster;
    const { groupOf, groups, zones } = plan;
    if (groups !== this.#arranged) {
      this.#arranged = groups;
      this.#load = new ZoneLoad();
      // One group more than there are zones: for those that come before the next plan.
      lists.arrange(zones.length + 1, groupOf);
    }
    this.#isWarming = false;
    for (const { rampUntil } of endpoints.values()) this.#isWarming ||= rampUntil > now;
    this.#share();
  }

  /** The shares of the plan, and what load does to them. */
  #share(): void {
    const { mode, zones, groupOf } = this.#plan;
    const { spill, explored } = this.#load;
    if (groupOf === undefined) {
      this.draws = undefined;
      return;
    }
    const { stretches } = this.#cluster.lists;
    const [own] = zones;
    const others = zones.reduce((all, { endpoints }, i) => all + (i === 0 ? 0 : endpoints), 0);
    // Without a few calls to the other zones nothing would be known of them.
    const atLeast = mode === "local" ? explored : 0;
    const stays = mode === "hints" || others === 0 || !this.#settings.zones.spillByLoad;
    const leaves = stays ? 0 : own!.share * Math.max(spill, atLeast);
    let upTo = 0;
    this.#shares = zones.map(({ zone, endpoints, share }, i) => ({
      zone,
      endpoints,
      share: i === 0 ? share - leaves : share + (leaves * endpoints) / others,
    }));
    this.draws = this.#shares.map(({ share }, i) => ({
      stretch: stretches[i]!,
      upTo: (upTo += share),
    }));
    this.#next ??= this.#runtime.after(PLAN_MS, () => this.#tick(), undefined);
  }

  #tick(): void {
    this.#next = undefined;
    const { available } = this.#cluster.lists;
    const looks = this.#plan.mode !== "hints" && this.#settings.zones.spillByLoad;
    if (looks) this.#load.look(available, ({ group }) => group === 0);
    if (this.#stale || this.#isWarming) this.#renew();
    else this.#share();
  }
}
