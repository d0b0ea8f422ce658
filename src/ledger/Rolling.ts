/**
 * Amounts over time, so that any rolling window can be asked for, in memory that grows with the logarithm of time.
 *
 * Amounts are counted in buckets. A new one is a second long; as it ages it becomes part of one twice as long, but never
 * longer than a sixtieth of its age. Whatever window still reaches it is thus made of at least {@link buckets} buckets. A
 * bucket counts until all of it has left the window: a window is never shorter than it says.
 *
 * Buckets grow not one by one but many at once, now and then. In between only the recent ones change, so that a store need
 * not read and write the older ones for every amount.
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

/** How many buckets are recent, at most. */
const recentBuckets = 32

/** How many older ones may be as short as they were made: about as many as there are of a day when all have grown. */
const olderBuckets = 1_000

interface Bucket {
  readonly start: number
  readonly size: number
  readonly amount: bigint
}

/**
 * Buckets from the oldest to the newest. They are never changed but replaced, so that several series may share them, and a
 * store sees whether they are other ones.
 *
 * @category models
 * @since 0.1.0
 */
export type Buckets = ReadonlyArray<Bucket>

const none: Buckets = []

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

/** As long as they are by now. */
const grow = (all: Buckets, now: number): Buckets => {
  const grown: Array<Bucket> = []
  for (const bucket of all) {
    if (bucket.amount === 0n) continue
    const older = bucketAt(bucket.start, now, bucket.size)
    const before = grown.at(-1)
    if (before?.start === older.start) grown[grown.length - 1] = { ...before, amount: before.amount + bucket.amount }
    else grown.push({ ...older, amount: bucket.amount })
  }
  return grown
}

/**
 * As text, for a store that keeps them. Times are in seconds.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (all: Buckets): string =>
  all.map(({ amount, size, start }) => `${start / finest},${size / finest},${amount}`).join(";")

/**
 * Reads what {@link encode} wrote; undefined for anything else.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (text: string): Buckets | undefined => {
  if (text === "") return none
  const all: Array<Bucket> = []
  for (const part of text.split(";")) {
    const [, start, size, amount] = /^(\d{1,13}),(\d{1,13}),(-?\d{1,78})$/.exec(part) ?? []
    if (start === undefined || size === undefined || amount === undefined) return undefined
    all.push({ start: Number(start) * finest, size: Number(size) * finest, amount: BigInt(amount) })
  }
  return all
}

/**
 * A series of amounts. Not for two threads: every call is one synchronous step.
 *
 * @category models
 * @since 0.1.0
 */
export class Rolling {
  /** The buckets that change seldom, and those that change with every amount. */
  older: Buckets
  recent: Buckets

  constructor(older: Buckets = none, recent: Buckets = none) {
    this.older = older
    this.recent = recent
  }

  get all(): Buckets {
    return this.older.length === 0 ? this.recent : [...this.older, ...this.recent]
  }

  /** When the last amount was counted, to the second. */
  get last(): number {
    return (this.recent.at(-1) ?? this.older.at(-1))?.start ?? 0
  }

  /** Counts an amount now. Time must not go back between calls. */
  add(now: number, amount: bigint): void {
    const last = this.recent.at(-1)
    if (last !== undefined && now < end(last)) {
      this.recent = this.recent.with(this.recent.length - 1, { ...last, amount: last.amount + amount })
      return
    }
    if (this.recent.length >= recentBuckets) {
      this.older = grow(this.all, now)
      this.recent = none
    }
    this.recent = [...this.recent, { ...bucketAt(now, now, finest), amount }]
  }

  /** Counts an amount at an instant that is past: what became known late, perhaps all at once and of long ago. */
  insert(at: number, amount: bigint, now: number): void {
    const into = (all: Buckets): Buckets => {
      const place = all.findIndex((bucket) => end(bucket) > at)
      const found = all[place]
      if (found !== undefined && found.start <= at) {
        return all.map((bucket) => bucket === found ? { ...found, amount: found.amount + amount } : bucket)
      }
      const made = { start: Math.floor(at / finest) * finest, size: finest, amount }
      return place === -1 ? [...all, made] : all.toSpliced(place, 0, made)
    }
    const [first] = this.recent
    if (first !== undefined && at >= first.start) this.recent = into(this.recent)
    else this.older = into(this.older)
    if (this.recent.length <= recentBuckets && this.older.length <= olderBuckets) return
    this.older = grow(this.all, now)
    this.recent = none
  }

  /** What counts in the window that ends now. */
  within(now: number, windowMillis: number): bigint {
    let sum = 0n
    const edge = now - windowMillis
    for (const all of [this.recent, this.older]) {
      for (let at = all.length - 1; at >= 0; at--) {
        const bucket = all[at]!
        // It is as long as it will be when it has grown: what has left a window never comes back into it.
        if (end(bucket) <= edge && end(bucketAt(bucket.start, now, bucket.size)) <= edge) return sum
        sum += bucket.amount
      }
    }
    return sum
  }

  /** The most that counted in one window, of all windows that ended within the last one. */
  peak(now: number, windowMillis: number): bigint {
    const all = grow(this.all, now)
    let peak = 0n
    for (const latest of all) {
      if (end(latest) <= now - windowMillis) continue
      let sum = 0n
      for (const bucket of all) {
        if (bucket.start > latest.start) break
        if (end(bucket) > latest.start - windowMillis) sum += bucket.amount
      }
      if (sum > peak) peak = sum
    }
    return peak
  }

  /**
   * Takes an amount out of the bucket that it was counted in. Where that is finer than the one of the series that names it,
   * and so does not have all of it, the rest comes out of those that follow.
   */
  lower(at: number, amount: bigint): void {
    this.takeFrom(at, amount)
  }

  /**
   * Takes an amount out of the oldest buckets, and says from where. Where nobody knows which of many amounts was not
   * spent, the oldest makes the least room.
   */
  take(amount: bigint): ReadonlyArray<Entry> {
    return this.takeFrom(Number.NEGATIVE_INFINITY, amount)
  }

  private takeFrom(since: number, amount: bigint): ReadonlyArray<Entry> {
    const taken: Array<Entry> = []
    let rest = amount
    const lowered = (bucket: Bucket): Bucket => {
      const part = bucket.amount < rest ? bucket.amount : rest
      if (part <= 0n || end(bucket) <= since) return bucket
      rest -= part
      taken.push({ at: bucket.start, amount: part })
      return { ...bucket, amount: bucket.amount - part }
    }
    const older = this.older.map(lowered)
    if (taken.length > 0) this.older = older
    if (rest > 0n) this.recent = this.recent.map(lowered)
    return taken
  }
}
