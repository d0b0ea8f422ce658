/**
 * The running figures of a ledger: what is spent and exposed in every counter, and how every origin behaves.
 *
 * @since 0.1.0
 */
import type { Conduct, Standing } from "./Model.ts"
import { type Entry, Rolling } from "./Rolling.ts"

/**
 * What stands in a counter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counter {
  exposed: bigint
  readonly spent: Rolling
  readonly count: Rolling
}

/**
 * How an origin behaves.
 *
 * @category models
 * @since 0.1.0
 */
export interface Origin {
  hanging: bigint
  readonly abandoned: Rolling
  readonly refused: Rolling
}

/**
 * A counter in which nothing stands.
 *
 * @category constructors
 * @since 0.1.0
 */
export const emptyCounter = (): Counter => ({ exposed: 0n, spent: new Rolling(), count: new Rolling() })

/**
 * An origin that nothing is known of.
 *
 * @category constructors
 * @since 0.1.0
 */
export const emptyOrigin = (): Origin => ({ hanging: 0n, abandoned: new Rolling(), refused: new Rolling() })

/**
 * Figures by name. What is got is about to be changed; what is found is only read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Figures<A> {
  readonly find: (name: string) => A | undefined
  readonly get: (name: string) => A
}

const dayMillis = 86_400_000

/**
 * @category models
 * @since 0.1.0
 */
export class Books {
  /** The longest window that was asked for. Whatever is older is in no window. */
  longest = dayMillis
  now = 0
  /** When something was authorised last: by a clock that could be believed. Ledger time never goes back behind it. */
  last = 0
  private readonly counters: Figures<Counter>
  private readonly origins: Figures<Origin>

  constructor(counters: Figures<Counter>, origins: Figures<Origin>) {
    this.counters = counters
    this.origins = origins
  }

  /**
   * The ledger's time for one step: never before the last authorisation. A clock that is wrong for a while is not
   * remembered, unless something was authorised by it: else it would empty the windows for good.
   */
  tick(now: number): void {
    this.now = Math.max(this.last, now)
  }

  /** Something is authorised now. */
  keepTime(): void {
    this.last = this.now
  }

  standing(counter: string, windowMillis: number): Standing {
    this.longest = Math.max(this.longest, windowMillis)
    const known = this.counters.find(counter)
    return known === undefined
      ? { spent: 0n, exposed: 0n, count: 0 }
      : {
        spent: known.spent.within(this.now, windowMillis),
        exposed: known.exposed,
        count: Number(known.count.within(this.now, windowMillis))
      }
  }

  expose(counters: ReadonlyArray<string>, usd: bigint): void {
    if (usd === 0n) return
    for (const counter of counters) this.counters.get(counter).exposed += usd
  }

  spend(counters: ReadonlyArray<string>, usd: bigint): void {
    for (const counter of counters) this.counters.get(counter).spent.add(this.now, usd)
  }

  /** Counts what was spent at an earlier time, and became known now. */
  spendAt(counters: ReadonlyArray<string>, usd: bigint, at: number): void {
    const then = Math.min(at, this.now)
    for (const counter of counters) this.counters.get(counter).spent.insert(then, usd, this.now)
  }

  /** Takes spending out of where it was counted. */
  refund(counters: ReadonlyArray<string>, entries: ReadonlyArray<Entry>): void {
    for (const counter of counters) {
      for (const { amount, at } of entries) this.counters.get(counter).spent.lower(at, amount)
    }
  }

  count(counters: ReadonlyArray<string>): void {
    for (const counter of counters) this.counters.get(counter).count.add(this.now, 1n)
  }

  uncount(counters: ReadonlyArray<string>, at: number): void {
    for (const counter of counters) this.counters.get(counter).count.lower(at, 1n)
  }

  conduct(origin: string, windowMillis: number): Conduct {
    this.longest = Math.max(this.longest, windowMillis)
    const known = this.origins.find(origin)
    return known === undefined
      ? { abandoned: 0, refused: 0, hangingUsd: 0n }
      : {
        abandoned: Number(known.abandoned.peak(this.now, windowMillis)),
        refused: Number(known.refused.peak(this.now, windowMillis)),
        hangingUsd: known.hanging
      }
  }

  abandoned(origin: string): void {
    this.origins.get(origin).abandoned.add(this.now, 1n)
  }

  refused(origin: string): void {
    this.origins.get(origin).refused.add(this.now, 1n)
  }

  hang(origin: string, usd: bigint): void {
    if (usd !== 0n) this.origins.get(origin).hanging += usd
  }
}
