import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import type { Hex } from "viem"
import type * as Rails from "../../../src/Rails.ts"
import { makeChain, makeShop, offer, opening, price, problem, railWith, receipt, ticking, walk } from "../channels.ts"

const deposit = 1_000_000n

/** An open channel, on which so many draws were made and acknowledged. */
const channelOf = Effect.fnUntraced(function*(draws = 0) {
  const chain = makeChain()
  const shop = makeShop(chain, { challenge: { expires: "1970-01-02T00:00:00Z" } })
  const { ops, rail } = yield* railWith({ nodes: [chain.node], client: shop.client })
  const plan = yield* ops.planOpen(offer(), opening)
  const handle = yield* ops.establish(plan)
  const channelId = handle.wireId as Hex
  const drawn = { limit: deposit, spent: 0n, reserved: 0n }
  for (let nth = 0; nth < draws; nth++) {
    const draw = ops.planDraw(handle, offer(), drawn)
    yield* rail.sign(draw)
    drawn.spent += price
    const headers = { "payment-receipt": receipt(channelId, drawn.spent, drawn.spent) }
    rail.judge(draw, { status: 200, headers, body: undefined }, 0)
    shop.books.set(channelId, { accepted: drawn.spent, spent: drawn.spent })
  }
  const from = shop.seen.length
  return {
    chain,
    shop,
    ops,
    rail,
    plan,
    handle,
    channelId,
    drawn,
    walked: () => walk(shop.seen.slice(from)),
    /** Tries to close it, as often as it takes: every minute. */
    untilClosed: Effect.fnUntraced(function*(drawn: Rails.Drawn) {
      for (let minute = 0; minute < 60; minute++) {
        const tried = yield* Effect.result(ticking(ops.close(handle, drawn)))
        if (Result.isSuccess(tried)) return tried.success
        yield* TestClock.adjust("1 minute")
      }
      return yield* Effect.die("it is not closed within an hour")
    })
  }
})

/** A merchant who answers nothing any more. */
const silence = Array.from({ length: 1_000 }, () => () => Effect.succeed("lost" as const))

describe("the end of a channel", () => {
  it.effect("is asked of the merchant, with what was paid for", () =>
    Effect.gen(function*() {
      const { drawn, handle, ops, walked } = yield* channelOf(3)
      const { evidence, open, spent } = yield* ticking(ops.close(handle, drawn))
      assert.deepStrictEqual([spent, open, evidence?.rank], [3n * price, false, "proven"])
      assert.deepStrictEqual(walked(), ["HEAD - 402", "HEAD close 30000 204"])
    }))

  it.effect("is the same figure when it is asked for again", () =>
    Effect.gen(function*() {
      const { drawn, handle, ops, walked } = yield* channelOf(3)
      const first = yield* ticking(ops.close(handle, drawn))
      assert.deepStrictEqual(yield* ticking(ops.close(handle, drawn)), first)
      assert.strictEqual(walked().length, 2)
    }))

  it.effect("takes a draw in which nothing was heard of, if the merchant has delivered for it", () =>
    Effect.gen(function*() {
      const { channelId, drawn, handle, ops, rail, shop, walked } = yield* channelOf(3)
      yield* rail.sign(ops.planDraw(handle, offer(), drawn))
      shop.books.set(channelId, { accepted: 4n * price, spent: 4n * price })
      const { spent } = yield* ticking(ops.close(handle, { ...drawn, reserved: price }))
      assert.strictEqual(spent, 4n * price)
      assert.deepStrictEqual(walked(), ["HEAD - 402", "HEAD close 30000 402", "HEAD close 40000 204"])
    }))

  it.effect("never promises more than was signed before, however much is of unknown outcome", () =>
    Effect.gen(function*() {
      const { drawn, handle, ops, rail, shop } = yield* channelOf(3)
      // Offered again and again, and not answered.
      for (const reserved of [0n, price, 2n * price]) {
        yield* rail.sign(ops.planDraw(handle, offer(), { ...drawn, reserved }))
      }
      shop.script.next = Array.from(
        { length: 5 },
        () => () => Effect.succeed(problem(402, "session/insufficient-balance"))
      )
      yield* Effect.flip(ticking(ops.close(handle, { ...drawn, reserved: 3n * price })))
      const closes = shop.seen.flatMap(({ payload }) => payload?.action === "close" ? [payload.cumulativeAmount] : [])
      assert.deepStrictEqual(closes, [3n * price, 4n * price])
    }))

  it.effect("is what the chain says, also if that is more than was drawn", () =>
    Effect.gen(function*() {
      const { chain, channelId, drawn, handle, ops } = yield* channelOf(3)
      yield* chain.close(channelId, 4n * price)
      const { evidence, spent } = yield* ticking(ops.close(handle, drawn))
      assert.strictEqual(spent, 4n * price)
      assert.strictEqual(evidence?.mismatch, true)
      assert.deepStrictEqual(evidence?.detail, { taken: "40000", drawn: "30000", reserved: "0" })
    }))

  it.effect("is not believed before its block is final", () =>
    Effect.gen(function*() {
      const { chain, channelId, drawn, handle, ops } = yield* channelOf(1)
      yield* chain.close(channelId, price)
      const before = yield* Clock.currentTimeMillis
      yield* ticking(ops.close(handle, drawn))
      const after = yield* Clock.currentTimeMillis
      assert.isAtLeast(after - before, 2_000)
    }))

  it.effect("comes without the merchant if he has vanished: nothing is lost but what he delivered for on the chain", () =>
    Effect.gen(function*() {
      const { chain, drawn, shop, untilClosed, walked } = yield* channelOf(3)
      shop.script.next = silence
      const { spent } = yield* untilClosed(drawn)
      assert.strictEqual(spent, 0n)
      assert.deepStrictEqual(chain.sent, ["requestClose", "withdraw"])
      assert.isAtLeast(walked().filter((line) => line.startsWith("HEAD close")).length, 3)
    }))

  it.effect("comes without the merchant if he says again and again that it has come", () =>
    Effect.gen(function*() {
      const { chain, drawn, shop, untilClosed } = yield* channelOf(3)
      shop.script.next = Array.from({ length: 1_000 }, () => () => Effect.succeed(new Response(null, { status: 204 })))
      const { spent } = yield* untilClosed(drawn)
      assert.strictEqual(spent, 0n)
      assert.deepStrictEqual(chain.sent, ["requestClose", "withdraw"])
    }))

  it.effect("comes without the merchant in the next process, which has seen nothing of it", () =>
    Effect.gen(function*() {
      const { chain, drawn, handle, shop } = yield* channelOf(3)
      shop.script.next = silence
      const [before, after] = [
        yield* railWith({ nodes: [chain.node], client: shop.client }),
        yield* railWith({ nodes: [chain.node], client: shop.client })
      ]
      while (chain.sent.length === 0) {
        yield* Effect.flip(ticking(before.ops.close(handle, drawn)))
        yield* TestClock.adjust("4 minutes")
      }
      yield* Effect.flip(ticking(after.ops.close(handle, drawn)))
      yield* TestClock.adjust("16 minutes")
      const { spent } = yield* ticking(after.ops.close(handle, drawn))
      assert.deepStrictEqual([spent, chain.sent], [0n, ["requestClose", "withdraw"]])
    }))

  it.effect("is asked for again on the chain if somebody has taken the request back", () =>
    Effect.gen(function*() {
      const { chain, channelId, drawn, handle, ops, shop, untilClosed } = yield* channelOf(1)
      shop.script.next = silence
      while (chain.sent.length === 0) {
        yield* Effect.flip(ticking(ops.close(handle, drawn)))
        yield* TestClock.adjust("4 minutes")
      }
      chain.channels.set(channelId, { ...chain.channels.get(channelId)!, closeRequestedAt: 0 })
      yield* untilClosed(drawn)
      assert.deepStrictEqual(chain.sent, ["requestClose", "requestClose", "withdraw"])
    }))

  it.effect("waits for sixteen minutes of the chain's time, not of ours", () =>
    Effect.gen(function*() {
      const { chain, drawn, handle, ops, shop } = yield* channelOf(1)
      shop.script.next = silence
      while (chain.sent.length === 0) {
        yield* Effect.flip(ticking(ops.close(handle, drawn)))
        yield* TestClock.adjust("4 minutes")
      }
      chain.script.skew = -20 * 60
      yield* TestClock.adjust("17 minutes")
      assert.strictEqual((yield* Effect.flip(ticking(ops.close(handle, drawn))))._tag, "ChainError")
      // A chain that is ahead of our clock takes what is valid in its own time.
      chain.script.skew = 20 * 60
      yield* ticking(ops.close(handle, drawn))
      assert.deepStrictEqual(chain.sent, ["requestClose", "withdraw"])
    }))

  it.effect("is that there never was a channel, if the merchant has only said so", () =>
    Effect.gen(function*() {
      const { chain, channelId, drawn, handle, ops, walked } = yield* channelOf(3)
      chain.channels.delete(channelId)
      assert.strictEqual((yield* Effect.flip(ticking(ops.close(handle, drawn))))._tag, "ChainError")
      yield* TestClock.adjust("1 minute")
      const { evidence, feeUsd, open, spent } = yield* ticking(ops.close(handle, drawn))
      assert.deepStrictEqual([spent, open, feeUsd, evidence?.rank], [0n, false, 0n, "proven"])
      assert.deepStrictEqual(walked(), [])
    }))

  it.effect("is not said by a node that is silent, or by one of two that sees nothing", () =>
    Effect.gen(function*() {
      const { chain, drawn, handle, shop } = yield* channelOf(1)
      const blind = makeChain()
      const orders = [[blind.node, chain.node], [chain.node, blind.node]]
      const rails = yield* Effect.forEach(orders, (nodes) => railWith({ nodes, client: shop.client }))
      const failures = Effect.forEach(rails, ({ ops }) => Effect.flip(ticking(ops.close(handle, drawn))))
      yield* TestClock.adjust("1 minute")
      chain.script.broken = true
      assert.deepStrictEqual((yield* failures).map(({ _tag }) => _tag), ["ChainError", "ChainError"])
      chain.script.broken = false
      yield* chain.close(handle.wireId as Hex, price)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* failures).map(({ _tag }) => _tag), ["ChainError", "ChainError"])
    }))
})
