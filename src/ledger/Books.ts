/**
 * The running figures of a memory ledger: what is spent and exposed in every counter, and how every origin behaves.
 *
 * @since 0.1.0
 */
import type { Conduct, Standing } from "./Model.ts"
import { type Entry, Rolling } from "./Rolling.ts"

interface Counter {
  exposed: bigint
  readonly spent: Rolling
  readonly count: Rolling
}

interface Origin {
  hanging: bigint
  readonly abandoned: Rolling
  readonly refused: Rolling
}

/** Figures are looked through for idle ones when there are so many of them, and again when they have doubled. */
const sweepAt = 1_024

/** Figures by name. Idle ones are forgotten now and then, so that memory is bounded by what still counts. */
class Figures<A> {
  private readonly all = new Map<string, A>()
  private threshold = sweepAt
  private readonly make: () => A
  private readonly isIdle: (figures: A) => boolean

  constructor(make: () => A, isIdle: (figures: A) => boolean) {
    this.make = make
    this.isIdle = isIdle
  }

  find(name: string): A | undefined {
    return this.all.get(name)
  }

  get(name: string): A {
    const known = this.all.get(name)
    if (known !== undefined) return known
    if (this.all.size >= this.threshold) this.sweep()
    const made = this.make()
    this.all.set(name, made)
    return made
  }

  private sweep(): void {
    for (const [name, figures] of this.all) if (this.isIdle(figures)) this.all.delete(name)
    this.threshold = Math.max(sweepAt, 2 * this.all.size)
  }
}

const dayMillis = 86_400_000

/**
 * @category models
 * @since 0.1.0
 */
export class Books {
  /** The longest window that was asked for. Whatever is older is in no window. */
  private longest = dayMillis
  private now = 0

  private readonly counters = new Figures<Counter>(
    () => ({ exposed: 0n, spent: new Rolling(), count: new Rolling() }),
    ({ count, exposed, spent }) => exposed === 0n && this.isPast(spent) && this.isPast(count)
  )

  private readonly origins = new Figures<Origin>(
    () => ({ hanging: 0n, abandoned: new Rolling(), refused: new Rolling() }),
    ({ abandoned, hanging, refused }) => hanging === 0n && this.isPast(abandoned) && this.isPast(refused)
  )

  private isPast(series: Rolling): boolean {
    return series.last + 2 * this.longest < this.now
  }

  /** Time as the ledger tells it: it never goes back. */
  tick(now: number): number {
    this.now = Math.max(this.now, now)
    return this.now
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
    for (const counter of counters) this.counters.get(counter).exposed += usd
  }

  spend(counters: ReadonlyArray<string>, usd: bigint): void {
    for (const counter of counters) this.counters.get(counter).spent.add(this.now, usd)
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
