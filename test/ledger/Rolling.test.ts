import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Series from "../../src/ledger/Rolling.ts"
import { buckets, Rolling } from "../../src/ledger/Rolling.ts"

const Step = Schema.Struct({
  wait: Schema.Literals([0, 300, 1_000, 7_000, 90_000, 1_200_000, 40_000_000]),
  amount: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))
})

const Window = Schema.Int.check(Schema.isBetween({ minimum: 60_000, maximum: 200_000_000 }))

const sum = (entries: ReadonlyArray<{ readonly amount: bigint }>) =>
  entries.reduce((total, entry) => total + entry.amount, 0n)

/** A series of these steps, and the same as a plain list. */
const build = (steps: ReadonlyArray<typeof Step.Type>) => {
  const series = new Rolling()
  const entries: Array<{ readonly at: number; readonly amount: bigint }> = []
  let now = 1_700_000_000_123
  for (const step of steps) {
    now += step.wait
    series.add(now, BigInt(step.amount))
    entries.push({ at: now, amount: BigInt(step.amount) })
  }
  return { series, entries, now }
}

const within = (entries: ReadonlyArray<{ readonly at: number; readonly amount: bigint }>, since: number) =>
  sum(entries.filter(({ at }) => at > since))

describe("Rolling", () => {
  it.prop(
    "counts no window shorter than it says, and none longer by more than a bucket",
    [Schema.Array(Step).check(Schema.isMaxLength(80)), Window],
    ([steps, window]) => {
      const { entries, now, series } = build(steps)
      const counted = series.within(now, window)
      assert.isTrue(counted >= within(entries, now - window), "shorter")
      assert.isTrue(counted <= within(entries, now - window - Math.max(1_000, window / buckets)), "longer")
    },
    { arbitrary: { runs: 2_000 } }
  )

  it.prop(
    "says the same with many amounts, and whichever of its buckets a store has read before",
    [Schema.Array(Step).check(Schema.isMinLength(100), Schema.isMaxLength(400)), Window],
    ([steps, window]) => {
      const { entries, now, series } = build(steps)
      const counted = series.within(now, window)
      assert.isTrue(counted >= within(entries, now - window), "shorter")
      assert.isTrue(counted <= within(entries, now - window - Math.max(1_000, window / buckets)), "longer")
      const again = (buckets: Series.Buckets) => Series.decode(Series.encode(buckets))
      for (const read of [new Rolling(again(series.all)), new Rolling(again(series.older), again(series.recent))]) {
        assert.strictEqual(read.within(now, window), counted)
        assert.strictEqual(read.peak(now, window), series.peak(now, window))
        assert.deepStrictEqual(read.all, series.all)
      }
    },
    { arbitrary: { runs: 200 } }
  )

  it("leaves its older buckets as they are until the recent ones are many", () => {
    const series = new Rolling()
    const older = new Set()
    for (let second = 0; second < 1_000; second++) {
      series.add(second * 1_000, 1n)
      older.add(series.older)
    }
    assert.isAtMost(older.size, 1_000 / 30)
    const before = series.older
    const text = Series.encode(before)
    assert.notStrictEqual(text, "")
    series.lower(0, 1n)
    assert.notStrictEqual(series.older, before)
    assert.notStrictEqual(Series.encode(series.older), text)
    assert.strictEqual(Series.encode(before), text)
  })

  it("reads nothing but what it wrote", () => {
    for (const text of ["?", "1", "1,2", "1,2,3;", "1,2,x", "-1,2,3", "1,2,3,4"]) {
      assert.isUndefined(Series.decode(text), text)
    }
  })

  it.prop(
    "takes what it is told out of the oldest, and never more room than was there",
    [
      Schema.Array(Step).check(Schema.isMinLength(1), Schema.isMaxLength(80)),
      Window,
      Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 }))
    ],
    ([steps, window, amount]) => {
      const { entries, now, series } = build(steps)
      const counted = series.within(now, window)
      const total = sum(entries)
      const taken = series.take(BigInt(amount))
      const expected = BigInt(amount) < total ? BigInt(amount) : total
      assert.strictEqual(sum(taken), expected)
      assert.isTrue(series.within(now, window) >= counted - expected)
      assert.strictEqual(series.within(now, Number.MAX_SAFE_INTEGER), total - expected)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "lowers what another series says was taken, entry by entry",
    [
      Schema.Array(Step).check(Schema.isMinLength(1), Schema.isMaxLength(300)),
      Schema.Array(Step).check(Schema.isMaxLength(300))
    ],
    ([steps, others]) => {
      // a counter sees what every authorisation spends, and what others spend as well: its buckets are other ones
      const counter = new Rolling()
      const own = new Rolling()
      let now = 0
      for (const [at, step] of steps.entries()) {
        now += step.wait
        own.add(now, BigInt(step.amount))
        counter.add(now, BigInt(step.amount))
        now += others[at]?.wait ?? 0
        if (others[at] !== undefined) counter.add(now, BigInt(others[at].amount))
      }
      const before = counter.within(now, Number.MAX_SAFE_INTEGER)
      const taken = own.take(1_000n)
      for (const { amount, at } of taken) counter.lower(at, amount)
      assert.strictEqual(counter.within(now, Number.MAX_SAFE_INTEGER), before - sum(taken))
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "counts what became known late as if it had been counted in time, to the length of a bucket",
    { steps: Schema.Array(Step), late: Schema.Array(Step) },
    ({ late, steps }) => {
      const series = new Rolling()
      let now = 0
      const counted: Array<{ readonly at: number; readonly amount: bigint }> = []
      for (const [index, step] of steps.entries()) {
        now += step.wait
        series.add(now, BigInt(step.amount))
        counted.push({ at: now, amount: BigInt(step.amount) })
        const it = late[index]
        if (it === undefined) continue
        const at = Math.max(0, now - it.wait)
        series.insert(at, BigInt(it.amount), now)
        counted.push({ at, amount: BigInt(it.amount) })
      }
      assert.strictEqual(series.within(now, Number.MAX_SAFE_INTEGER), sum(counted))
      for (const windowMillis of [60_000, 3_600_000, 86_400_000]) {
        const found = series.within(now, windowMillis)
        const since = (millis: number) => sum(counted.filter(({ at }) => at > now - millis))
        assert.isTrue(found >= since(windowMillis), `${found} < ${since(windowMillis)}`)
        assert.isTrue(found <= since(windowMillis + windowMillis / 30 + 4_000), `${found} > what can be`)
      }
      assert.deepStrictEqual(Series.decode(Series.encode(series.all)), series.all)
    },
    { arbitrary: { runs: 500 } }
  )

  it("grows with the logarithm of time", () => {
    const series = new Rolling()
    for (let second = 0; second < 50_000; second++) series.add(second * 1_000, 1n)
    const taken = series.take(50_000n)
    assert.strictEqual(sum(taken), 50_000n)
    assert.isTrue(taken.length < 800, `${taken.length} buckets`)
  })

  it("does not grow with what becomes known late, however much that is", () => {
    const series = new Rolling()
    const now = 200_000_000
    series.add(now - 5_000_000, 1n)
    for (let at = 0; at < 20_000; at++) series.insert((at * 7_919_000) % now, 1n, now)
    assert.strictEqual(series.within(now, Number.MAX_SAFE_INTEGER), 20_001n)
    assert.isTrue(series.all.length < 1_200, `${series.all.length} buckets`)
  })

  it("never takes back into a window what has left it", () => {
    const series = new Rolling()
    series.add(300, 10n)
    const left = [3_600_100, 3_601_000, 3_620_000, 3_632_000].map((now) => series.within(now, 3_600_000))
    assert.deepStrictEqual(left, [10n, 10n, 10n, 0n])
    series.add(3_632_000, 1n)
    assert.strictEqual(series.within(3_632_000, 3_600_000), 1n)
  })

  it("finds the most that came together, as long as that is not older than it took", () => {
    const series = new Rolling()
    for (const second of [0, 50, 300]) series.add(second * 1_000, 1n)
    assert.strictEqual(series.peak(300_000, 60_000), 1n)
    series.add(355_000, 1n)
    assert.strictEqual(series.peak(355_000, 60_000), 2n)
    assert.strictEqual(series.peak(410_000, 60_000), 2n)
    assert.strictEqual(series.peak(420_000, 60_000), 0n)
  })
})
