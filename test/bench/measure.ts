/** Two clients side by side: batches in pairs, taken in turn, so that whatever else the machine does hits both. */
import { Effect } from "effect"

/** One client at one route. `batch` makes so many requests, one after another, and answers how long each took, in ms. */
export interface Contender {
  readonly name: string
  readonly batch: (size: number) => Effect.Effect<ReadonlyArray<number>>
  /** So many requests, 32 at once: ms per request. */
  readonly crowd: (size: number) => Effect.Effect<number>
}

/** How many requests are made at once where they are not made one after another. */
export const crowdSize = 32

const perRequest = (run: Effect.Effect<unknown>, size: number) =>
  Effect.suspend(() => {
    const before = performance.now()
    return Effect.map(run, () => (performance.now() - before) / size)
  })

/** Requests that are effects, made in one fiber. */
export const ofEffect = (name: string, request: Effect.Effect<void>): Contender => ({
  name,
  batch: Effect.fnUntraced(function*(size) {
    const times: Array<number> = []
    for (let at = 0; at < size; at++) {
      const before = performance.now()
      yield* request
      times.push(performance.now() - before)
    }
    return times
  }),
  crowd: (size) => perRequest(Effect.replicateEffect(request, size, { concurrency: crowdSize, discard: true }), size)
})

/** Requests that are promises, made in one async function. */
export const ofPromise = (name: string, request: () => Promise<void>): Contender => ({
  name,
  batch: (size) =>
    Effect.promise(async () => {
      const times: Array<number> = []
      for (let at = 0; at < size; at++) {
        const before = performance.now()
        await request()
        times.push(performance.now() - before)
      }
      return times
    }),
  crowd: (size) => {
    const worker = async () => {
      for (let at = 0; at < size / crowdSize; at++) await request()
    }
    return perRequest(Effect.promise(() => Promise.all(Array.from({ length: crowdSize }, worker))), size)
  }
})

export interface Duel {
  readonly name: string
  readonly base: Contender
  readonly ours: Contender
  /** How much of the base's time ours may take. */
  readonly target: number
  /** Whether the server can serve 32 requests at once. */
  readonly crowd: boolean
  /** Requests in a batch. */
  readonly size: number
  readonly pairs: number
}

export interface Spread {
  readonly p25: number
  readonly p50: number
  readonly p75: number
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => {
    const place = share * (sorted.length - 1)
    const [below, above] = [sorted[Math.floor(place)] ?? Number.NaN, sorted[Math.ceil(place)] ?? Number.NaN]
    return below + (above - below) * (place % 1)
  }
  return { p25: at(0.25), p50: at(0.5), p75: at(0.75) }
}

export const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

const collectGarbage = Effect.sync(() => globalThis.gc?.())

/** The first batches are not counted: until then nothing is compiled and no connection is open. */
const warmUp = 0.2

/** Takes batches in turn, so that each can be compared with its neighbour. */
export const inTurn = Effect.fnUntraced(function*<A>(
  pairs: number,
  base: Effect.Effect<A>,
  ours: Effect.Effect<A>
) {
  const taken: Array<readonly [base: A, ours: A]> = []
  const skipped = Math.ceil(pairs * warmUp)
  for (let pair = 0; pair < skipped + pairs; pair++) {
    yield* collectGarbage
    const first = yield* base
    yield* collectGarbage
    const second = yield* ours
    if (pair >= skipped) taken.push([first, second])
  }
  return taken
})

export interface Result {
  readonly name: string
  readonly base: Spread & { readonly name: string }
  readonly ours: Spread & { readonly name: string }
  /** Ours to base, of each pair. */
  readonly ratio: Spread
  /** The same with 32 requests at once, where the server can. */
  readonly crowdRatio: Spread | null
  readonly target: number
  readonly met: boolean
  readonly pairs: number
  readonly size: number
}

/** Runs a duel: times in ms per request. */
export const run = Effect.fnUntraced(function*({ base, crowd, name, ours, pairs, size, target }: Duel) {
  const taken = yield* inTurn(pairs, base.batch(size), ours.batch(size))
  const crowds = crowd ? yield* inTurn(Math.ceil(pairs / 4), base.crowd(4 * crowdSize), ours.crowd(4 * crowdSize)) : []
  const ratio = spread(taken.map(([before, after]) => mean(after) / mean(before)))
  const result: Result = {
    name,
    base: { name: base.name, ...spread(taken.flatMap(([times]) => times)) },
    ours: { name: ours.name, ...spread(taken.flatMap(([, times]) => times)) },
    ratio,
    crowdRatio: crowd ? spread(crowds.map(([before, after]) => after / before)) : null,
    target,
    met: ratio.p50 <= target,
    pairs,
    size
  }
  return result
})
