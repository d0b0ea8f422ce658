/**
 * Tempo charges that the payer broadcasts himself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { keccak256 } from "viem/utils"
import { cuts, withoutReceipt } from "./merchant.ts"
import { alreadyUsed, type Change, demandsAgain, refuses, replays, takes } from "./tempoMerchant.ts"
import * as World from "./tempoWorld.ts"

const { buy, hostile, outcome, pass, price, standing, states, sweep } = World

const push = { rail: { mode: "push" } } as const

const steps = Effect.map(World.authorizations, (all) => all.map(({ broadcast }) => broadcast?.step))

/** One transaction was mined, and no other one can be. */
const once = ({ chain, hashes, signed }: World.World) => {
  assert.deepStrictEqual(chain.moved, [price])
  assert.strictEqual(new Set(signed).size, 1, "one transaction, however often it was signed")
  assert.isAtMost(new Set(hashes()).size, 1)
}

describe("a Tempo charge that the payer broadcasts", () => {
  for (const waits of [false, true]) {
    it.effect(`is mined before the merchant hears of it, by a node that ${waits ? "waits" : "does not wait"}`, () =>
      hostile(
        push,
        Effect.fnUntraced(function*(world) {
          world.chain.waits = waits
          assert.strictEqual(yield* outcome(buy()), "content")
          once(world)
          assert.deepStrictEqual(world.hashes(), [world.chain.mined[0]!.hash])
          assert.deepStrictEqual(world.transactions(), [], "the merchant never sees the transaction itself")
          yield* pass("10 seconds")
          yield* sweep
          assert.deepStrictEqual(yield* standing(), { spent: world.chain.taken, exposed: 0n })
        })
      ))
  }

  it.effect("is what a merchant gets that takes nothing else, and only there", () =>
    hostile(
      { change: { details: { supportedModes: ["push"] } } },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(world.hashes().length, 1)
        once(world)
      })
    ))

  it.effect("is waited for while the chain takes its time", () =>
    hostile(
      push,
      Effect.fnUntraced(function*(world) {
        world.chain.mines = false
        world.waits.set(
          "rpc eth_getTransactionReceipt",
          Effect.gen(function*() {
            if ((yield* world.now) > World.start / 1000 + 8) world.chain.mine(yield* world.now)
          })
        )
        assert.strictEqual(yield* outcome(buy()), "content")
        once(world)
      })
    ))

  it.effect("presents the same hash again when the answer is lost", () =>
    hostile(
      { ...push, paid: [takes(cuts), replays] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(world.hashes().length, 2)
        once(world)
      })
    ))

  it.effect("is paid and not delivered where the hash was claimed already", () =>
    hostile(
      { ...push, paid: [refuses("verification-failed", 402, alreadyUsed)] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        once(world)
      })
    ))

  for (
    const [name, step] of [
      ["demands again, for ever", demandsAgain],
      ["refuses", refuses("verification-failed")],
      ["does not know its challenge", refuses("invalid-challenge")],
      ["fails at the payment", refuses("internal-payment-error", 500)],
      ["forbids the content", withoutReceipt(403)],
      ["cuts every connection", cuts],
      ["is never available", withoutReceipt(503)]
    ] as const
  ) {
    it.effect(`stays paid, whatever is said of it, and is not paid again: ${name}`, () =>
      hostile(
        { ...push, paid: [step] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
          assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
          once(world)
          assert.match((yield* states)[0]!, /^charge settled/)
        })
      ))
  }

  /** Nothing is seen of a transaction until so many seconds have passed. */
  const hiding = (world: World.World, seconds: number) => {
    const until = World.start / 1000 + seconds
    let now = 0
    const look = Effect.map(world.now, (seconds) => now = seconds)
    world.waits.set("rpc eth_getTransactionReceipt", look)
    world.waits.set("rpc eth_getLogs", look)
    world.chain.lie = ({ method }) =>
      now >= until
        ? undefined
        : method === "eth_getTransactionReceipt"
        ? { result: null }
        : method === "eth_getLogs"
        ? "down"
        : undefined
  }

  const expiring = (seconds: number) => (nth: number): Change =>
    nth > 0 ? {} : { challenge: { expires: new Date(World.start + seconds * 1000).toISOString() } }

  it.effect("45: is not paid again where its challenge expired while it was mined, though a fresh one comes", () =>
    hostile(
      { rail: { mode: "push", validity: "1 minute" }, change: expiring(61) },
      Effect.fnUntraced(function*(world) {
        world.chain.window = 300
        hiding(world, 62)
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(world.hashes(), [], "an expired challenge is not answered any more")
        once(world)
      })
    ))

  it.effect("45: is not paid again where its challenge expired before anybody saw that it was mined", () =>
    hostile(
      { ...push, change: expiring(61) },
      Effect.fnUntraced(function*(world) {
        hiding(world, 120)
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("2 minutes")
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(world.hashes(), [])
        once(world)
      })
    ))

  it.effect("45: is not begun where its challenge leaves no time to present it", () =>
    hostile(
      { ...push, change: expiring(59) },
      Effect.fnUntraced(function*({ chain, signed }) {
        assert.match(yield* outcome(buy()), /\(unspent\)$/)
        assert.deepStrictEqual([signed.length, chain.mined.length], [0, 0])
      })
    ))

  it.effect("46: costs its fee where it is reverted, and the price is returned", () =>
    hostile(
      push,
      Effect.fnUntraced(function*(world) {
        world.chain.reverts = true
        assert.match(yield* outcome(buy()), /\(unspent\)$/)
        assert.deepStrictEqual(world.chain.moved, [])
        const fee = world.chain.mined[0]!.fee
        assert.isTrue(fee > 0n)
        assert.deepStrictEqual(yield* standing(), { spent: fee, exposed: 0n })
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(world.hashes(), [])
      })
    ))

  it.effect("is returned where it was never mined, once a final block has outlived it", () =>
    hostile(
      push,
      Effect.fnUntraced(function*(world) {
        world.chain.mines = false
        yield* outcome(buy())
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(world.hashes(), [], "the merchant never heard of it")
      })
    ))

  it.effect("is unknown where the node fails at it, and found where it went through all the same", () =>
    hostile(
      push,
      Effect.fnUntraced(function*(world) {
        world.chain.lie = ({ honest, method }) => {
          if (method !== "eth_sendRawTransaction") return world.chain.mined.length > 0 ? "down" : undefined
          honest()
          return { error: { code: -32603, message: "internal error" } }
        }
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* steps, ["broadcast"])
        world.chain.lie = () => undefined
        assert.strictEqual(yield* outcome(buy()), "content")
        once(world)
      })
    ))

  it.effect("has its hash written down before it leaves", () =>
    hostile(
      push,
      Effect.fnUntraced(function*(world) {
        const seen: Array<unknown> = []
        const note = Effect.flatMap(World.authorizations, ([authorization]) =>
          Effect.sync(() => seen.push(authorization?.broadcast)))
        const context = yield* Effect.context<never>()
        world.waits.set(
          "rpc eth_sendRawTransaction",
          Effect.ignore(Effect.provide(note as Effect.Effect<number>, context))
        )
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(seen, [{ transaction: keccak256(world.signed[0]!), step: "broadcast" }])
        assert.deepStrictEqual(yield* steps, ["presented"])
      })
    ))

  it.effect("fits five at once: five transactions, five contents", () =>
    hostile(
      { ...push, computesIds: true },
      Effect.fnUntraced(function*({ chain, hashes }) {
        const five = Array.from({ length: 5 }, () => outcome(World.fetch()))
        const outcomes = yield* World.patiently(Effect.all(five, { concurrency: "unbounded" }))
        assert.deepStrictEqual(outcomes, five.map(() => "content"))
        assert.strictEqual(new Set(hashes()).size, 5)
        assert.strictEqual(chain.mined.length, 5)
      })
    ))
})
