/**
 * Amounts over time, so that any rolling window can be asked for, in memory that grows with the logarithm of time.
 *
 * Amounts are counted in buckets. A new one is a second long; as it ages it becomes part of one twice as long, but never
 * longer than a sixtieth of its age. Whatever window still reaches it is thus made of at least {@link buckets} buckets. A
 * bucket counts until all of it has left the window: a window is never shorter than it says.
 *
 * @since 0.1.0
 */

/**
 * How many buckets a rolling window is counted in at least; for windows under a minute, the seconds in it.
 *
 * @category constants
 * @since 0.1.0
 */
export const buckets = 60

/** The length of a new bucket, in milliseconds. */
const finest = 1_000

interface Bucket {
  readonly start: number
  readonly size: number
  amount: bigint
}

/** The longest bucket that an instant may belong to by now. */
const bucketAt = (at: number, now: number, size: number): Bucket => {
  const startOf = (size: number) => Math.floor(at / size) * size
  while (now - (startOf(2 * size) + 2 * size) >= buckets * 2 * size) size *= 2
  return { start: startOf(size), size, amount: 0n }
}

const end = (bucket: Bucket): number => bucket.start + bucket.size

/**
 * An amount that was counted at an instant (milliseconds since the epoch).
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly at: number
  readonly amount: bigint
}

/**
 * A series of amounts. Not for two threads: every call is one synchronous step.
 *
 * @category models
 * @since 0.1.0
 */
export class Rolling {
  private all: Array<Bucket> = []

  /** Reads what {@link encode} wrote; undefined for anything else. */
  static decode(text: string): Rolling | undefined {
    const rolling = new Rolling()
    if (text === "") return rolling
    for (const part of text.split(";")) {
      const [, start, size, amount] = /^(\d{1,16}),(\d{1,16}),(-?\d{1,78})$/.exec(part) ?? []
      if (start === undefined || size === undefined || amount === undefined) return undefined
      rolling.all.push({ start: Number(start), size: Number(size), amount: BigInt(amount) })
    }
    return rolling
  }

  /** As text, for a store that keeps it. */
  encode(): string {
    return this.all.map(({ amount, size, start }) => `${start},${size},${amount}`).join(";")
  }

  /** When the last amount was counted, to the second. */
  get last(): number {
    return this.all.at(-1)?.start ?? 0
  }

  /** Counts an amount now. Time must not go back between calls. */
  add(now: number, amount: bigint): void {
    const last = this.all.at(-1)
    if (last !== undefined && now < end(last)) {
      last.amount += amount
      return
    }
    const grown: Array<Bucket> = []
    for (const bucket of this.all) {
      if (bucket.amount === 0n) continue
      const older = bucketAt(bucket.start, now, bucket.size)
      const before = grown.at(-1)
      if (before !== undefined && before.start === older.start) before.amount += bucket.amount
      else grown.push({ ...older, amount: bucket.amount })
    }
    grown.push({ ...bucketAt(now, now, finest), amount })
    this.all = grown
  }

  /** What counts in the window that ends now. */
  within(now: number, windowMillis: number): bigint {
    let sum = 0n
    const edge = now - windowMillis
    for (let at = this.all.length - 1; at >= 0; at--) {
      const bucket = this.all[at]!
      // It is as long as it will be when the next amount is counted: what has left a window never comes back into it.
      if (end(bucket) <= edge && end(bucketAt(bucket.start, now, bucket.size)) <= edge) break
      sum += bucket.amount
    }
    return sum
  }

  /** The most that counted in one window, of all windows that ended within the last one. */
  peak(now: number, windowMillis: number): bigint {
    let peak = 0n
    for (const latest of this.all) {
      if (end(latest) <= now - windowMillis) continue
      let sum = 0n
      for (const bucket of this.all) {
        if (bucket.start > latest.start) break
        if (end(bucket) > latest.start - windowMillis) sum += bucket.amount
      }
      if (sum > peak) peak = sum
    }
    return peak
  }

  /** Takes an amount out of the bucket that it was counted in; elsewhere it would make room that it never took. */
  lower(at: number, amount: bigint): void {
    let low = 0
    let high = this.all.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const bucket = this.all[middle]!
      if (at < bucket.start) high = middle - 1
      else if (at >= end(bucket)) low = middle + 1
      else {
        bucket.amount -= amount
        return
      }
    }
  }

  /**
   * Takes an amount out of the oldest buckets, and says from where. Where nobody knows which of many amounts was not
   * spent, the oldest makes the least room.
   */
  take(amount: bigint): ReadonlyArray<Entry> {
    const taken: Array<Entry> = []
    let rest = amount
    for (const bucket of this.all) {
      if (rest <= 0n) break
      const part = bucket.amount < rest ? bucket.amount : rest
      if (part <= 0n) continue
      bucket.amount -= part
      rest -= part
      taken.push({ at: bucket.start, amount: part })
    }
    return taken
  }
}
