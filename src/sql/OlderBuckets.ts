/**
 * The buckets of counters that change seldom. They are kept in a table of their own, under a name that they have for as long
 * as they do not change, and this process remembers them by it: so a hold reads and writes recent buckets alone, however long
 * a ledger has counted.
 *
 * @since 0.1.0
 */
import { emptyCounter } from "../ledger/Books.ts"
import type { Buckets } from "../ledger/Rolling.ts"
import { BucketTexts } from "./BucketTexts.ts"

/**
 * Older buckets of one counter.
 *
 * @category models
 * @since 0.1.0
 */
export interface Kept {
  /** Differs wherever the buckets do; empty where there are none. */
  readonly version: string
  readonly spent: Buckets
  readonly count: Buckets
}

const empty = emptyCounter()

/**
 * What a counter has that is new, or has counted for a short time only.
 *
 * @category constants
 * @since 0.1.0
 */
export const none: Kept = { version: "", spent: empty.spent.older, count: empty.count.older }

/** So many counters are remembered: those that were used last. */
const most = 256

/**
 * What this process remembers.
 *
 * @category models
 * @since 0.1.0
 */
export class OlderBuckets {
  /** What is written for the recent ones. */
  readonly texts = new BucketTexts()
  private readonly known = new Map<string, Kept>()
  private made = 0

  /** Of one counter, if they are of this version still. */
  find(counter: string, version: string): Kept | undefined {
    if (version === none.version) return none
    const kept = this.known.get(counter)
    return kept?.version === version ? kept : undefined
  }

  /** The versions that are known of some counters. */
  versions(counters: Iterable<string>): ReadonlyArray<string> {
    return Array.from(counters).flatMap((counter) => this.known.get(counter)?.version ?? [])
  }

  /** Remembers what a table said. What is only about to be written may be undone, and is not for here. */
  keep(counter: string, kept: Kept): void {
    this.known.delete(counter)
    this.known.set(counter, kept)
    for (const oldest of this.known.keys()) {
      if (this.known.size <= most) return
      this.known.delete(oldest)
    }
  }

  /** A version that nobody has made before: leases have names of their own. */
  newVersion(lease: string): string {
    return `${lease}-${++this.made}`
  }
}
