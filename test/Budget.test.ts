import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer, Option, Schema } from "effect"
import * as Budget from "../src/Budget.ts"

const who: Budget.Who = { agent: "a", origin: "https://merchant.test", payer: "0xAB" }

const Usd = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 10_000_000n }))

const fromEnvironment = (environment: Record<string, string>) =>
  Effect.provide(
    Budget.Budget,
    Budget.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment))))
  )

describe("plans", () => {
  for (
    const [name, plan, limit, window] of [
      ["singleFetch", Budget.singleFetch, 50_000n, "5 minutes"],
      ["shortTask", Budget.shortTask, 250_000n, "15 minutes"],
      ["research", Budget.research, 1_000_000n, "1 hour"],
      ["longRunning", Budget.longRunning, 5_000_000n, "8 hours"]
    ] as const
  ) {
    it(`${name} has every ceiling`, () => {
      assert.strictEqual(plan.limit, limit)
      assert.isTrue(Duration.equals(plan.window, Duration.fromInputUnsafe(window)))
      assert.strictEqual(plan.maxPrice, 50_000n)
      assert.strictEqual(plan.maxDeposit, limit / 2n)
      assert.strictEqual(plan.perDay, 5n * limit)
    })
  }

  it("never allow one request to cost more than all of them", () => {
    assert.strictEqual(Budget.make({ limit: "0.01", window: "1 hour" }).maxPrice, 10_000n)
    assert.strictEqual(Budget.make({ limit: "1", window: "1 hour", maxPrice: "2" }).maxPrice, 1_000_000n)
  })

  it("allow nothing where an amount cannot be read", () => {
    assert.strictEqual(Budget.make({ limit: "a lot", window: "1 hour" }).limit, 0n)
    assert.strictEqual(Budget.make({ limit: -1n, window: "1 hour" }).limit, 0n)
    assert.deepStrictEqual(Budget.make({ limit: "1", window: "1 hour", perOrigin: "1e3" }).perOrigin, Option.some(0n))
  })
})

describe("parse", () => {
  it("knows the plans by name, in any case", () => {
    assert.deepStrictEqual(Budget.parse("research"), Option.some(Budget.research))
    assert.deepStrictEqual(Budget.parse("LongRunning"), Option.some(Budget.longRunning))
  })

  for (
    const [text, limit, window] of [
      ["2.50/24h", 2_500_000n, "24 hours"],
      ["$2.50/90m", 2_500_000n, "90 minutes"],
      ["0.000001/30s", 1n, "30 seconds"],
      ["10/7d", 10_000_000n, "7 days"],
      ["10", 10_000_000n, "24 hours"]
    ] as const
  ) {
    it(`reads ${text}`, () => {
      const plan = Option.getOrThrow(Budget.parse(text))
      assert.strictEqual(plan.limit, limit)
      assert.isTrue(Duration.equals(plan.window, Duration.fromInputUnsafe(window)))
    })
  }

  for (const text of ["", "a lot", "-1", "1e3", "1/0h", "1/h", "1/24", "1/24w", "1.0000001", "1/1h/1h", "١", "1 000"]) {
    it(`reads no plan in "${text}"`, () => assert.isTrue(Option.isNone(Budget.parse(text))))
  }
})

describe("limits", () => {
  it("are the agent's window and the wallet's day, whatever the plan", () => {
    assert.deepStrictEqual(Budget.fromPlan(Budget.research).limits(who), [
      { scope: "agent", counter: "agent:a", limit: 1_000_000n, windowMillis: 3_600_000 },
      { scope: "wallet", counter: "wallet:0xab", limit: 5_000_000n, windowMillis: 86_400_000 }
    ])
  })

  it("are the origin's and the count of requests too, where the plan has them", () => {
    const plan = Budget.make({ limit: "1", window: "1 hour", perOrigin: "0.10", maxRequests: 7 })
    assert.deepStrictEqual(Budget.fromPlan(plan).limits(who).slice(2), [
      { scope: "origin", counter: "origin:https://merchant.test a", limit: 100_000n, windowMillis: 3_600_000 },
      { scope: "count", counter: "agent:a", limit: 7n, windowMillis: 3_600_000 }
    ])
  })

  it("are asked of counters that every authorisation counts in", () => {
    const plan = Budget.make({ limit: "1", window: "1 hour", perOrigin: "0.10", maxRequests: 7 })
    const budget = Budget.fromPlan(plan)
    assert.includeMembers([...budget.counters(who)], budget.limits(who).map((limit) => limit.counter))
    assert.deepStrictEqual(Budget.fromPlan(Budget.research).counters(who), budget.counters(who))
  })

  it("do not let an agent count in another's name", () => {
    const budget = Budget.fromPlan(Budget.research)
    const one = budget.counters({ ...who, agent: "b", origin: "https://a.test" })
    const other = budget.counters({ ...who, agent: "a.test b", origin: "https:" })
    assert.strictEqual(new Set([...one, ...other]).size, 5)
  })

  it("of a wallet are the same however its address is written, and whatever its agents are called", () => {
    const budget = Budget.fromPlan(Budget.research)
    const wallet = (payer: string, agent: string) => budget.limits({ ...who, payer, agent })[1]
    assert.deepStrictEqual(wallet("0xab", "a"), wallet("0xAB", "another"))
  })
})

describe("sessionLimit", () => {
  const { sessionLimit } = Budget.fromPlan(Budget.research)
  const need = { price: 1_000n, expected: 1_000_000, remaining: 1_000_000n }

  it("is the least of the deposit ceiling, twice the work, and half of what remains", () => {
    assert.deepStrictEqual(sessionLimit(need), Option.some(500_000n))
    assert.deepStrictEqual(sessionLimit({ ...need, expected: 25 }), Option.some(50_000n))
    assert.deepStrictEqual(sessionLimit({ ...need, remaining: 300_000n }), Option.some(150_000n))
  })

  it("is at least one price", () => {
    assert.deepStrictEqual(sessionLimit({ ...need, remaining: 1_500n }), Option.some(1_000n))
  })

  it("is none where one price is above the deposit ceiling or what remains", () => {
    assert.isTrue(Option.isNone(sessionLimit({ ...need, price: 500_001n })))
    assert.isTrue(Option.isNone(sessionLimit({ ...need, remaining: 999n })))
  })

  it.prop(
    "never is more than the ceiling, or than what remains, whatever is asked for",
    [Usd, Schema.Number, Usd],
    ([price, expected, remaining]) => {
      const limit = sessionLimit({ price, expected, remaining })
      if (Option.isNone(limit)) return assert.isTrue(price > 500_000n || price > remaining)
      assert.isTrue(limit.value >= price && limit.value <= remaining && limit.value <= 500_000n)
    },
    { arbitrary: { runs: 500 } }
  )
})

describe("remaining", () => {
  const [agent, wallet] = Budget.fromPlan(Budget.research).limits(who) as [Budget.Limit, Budget.Limit]
  const count: Budget.Limit = { scope: "count", counter: "agent:a", limit: 1n, windowMillis: 1 }

  it("is the least that any limit leaves", () => {
    assert.strictEqual(
      Budget.remaining([
        { limit: agent, spent: 100_000n, exposed: 200_000n },
        { limit: wallet, spent: 4_900_000n, exposed: 0n },
        { limit: count, spent: 0n, exposed: 0n }
      ]),
      100_000n
    )
  })

  it("is nothing where more was spent, or nothing is limited", () => {
    assert.strictEqual(Budget.remaining([{ limit: agent, spent: 2_000_000n, exposed: 0n }]), 0n)
    assert.strictEqual(Budget.remaining([]), 0n)
  })
})

describe("layerConfig", () => {
  it.effect("is the research plan where nothing is configured", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* fromEnvironment({})).plan, Budget.research)
    }))

  it.effect("takes the plan and the ceiling for one request from the environment", () =>
    Effect.gen(function*() {
      const budget = yield* fromEnvironment({ MPP_BUDGET: "2.50/24h", MPP_MAX_PRICE: "0.20" })
      assert.strictEqual(budget.plan.limit, 2_500_000n)
      assert.strictEqual(budget.ceiling, 200_000n)
      assert.strictEqual((yield* fromEnvironment({ MPP_MAX_PRICE: "9" })).ceiling, 1_000_000n)
    }))

  for (const environment of [{ MPP_BUDGET: "plenty" }, { MPP_MAX_PRICE: "1e3" }]) {
    it.effect(`fails on ${JSON.stringify(environment)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(fromEnvironment(environment))
        assert.strictEqual(error._tag, "ConfigError")
      }))
  }
})
