/**
 * Tempo charges beside another way to pay, on clocks that are wrong, and over a ledger that fails.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import { LedgerUnavailable } from "../../src/PaymentError.ts"
import { cuts, refusesConnection } from "./merchant.ts"
import { demandsAgain, honest, refuses, replays, type Step, takes } from "./tempoMerchant.ts"
import { modes } from "./tempoStops.ts"
import * as World from "./tempoWorld.ts"

const { buy, hostile, outcome, pass, price, standing, states, sweep } = World

const overX402 = Payment.with({ rails: ["x402/exact"] })

describe("another way to pay than a Tempo charge", () => {
  for (
    const [name, step, expected] of [
      ["refused", refuses("verification-failed"), "PaymentRejected (held)"],
      ["demanded again", demandsAgain, "PaymentUncertain (unknown)"],
      ["lost", cuts, "PaymentUncertain (unknown)"],
      ["failed", refuses("internal-payment-error", 500), "PaymentUncertain (unknown)"]
    ] as ReadonlyArray<readonly [string, Step, string]>
  ) {
    it.effect(`is not gone before it is proven that the first takes nothing, and then is: ${name}`, () =>
      hostile(
        { takesX402: true, paid: [step] },
        Effect.fnUntraced(function*({ x402 }) {
          assert.strictEqual(yield* outcome(buy()), expected)
          // A second refusal would close the origin for a while.
          if (name !== "refused") yield* outcome(buy().pipe(overX402))
          assert.deepStrictEqual(x402, [])
          yield* pass("1 minute")
          assert.strictEqual(yield* outcome(buy().pipe(overX402)), "content")
          assert.strictEqual(x402.length, 1)
          assert.include(yield* states, "charge released (proven)")
        })
      ))

    it.effect(`is not gone where the first was taken after all: ${name}`, () =>
      hostile(
        { takesX402: true, paid: [takes(step), step] },
        Effect.fnUntraced(function*({ chain, x402 }) {
          yield* outcome(buy())
          yield* outcome(buy().pipe(overX402))
          assert.deepStrictEqual(x402, [])
          assert.deepStrictEqual(chain.moved, [price])
        })
      ))
  }

  it.effect("is gone at once where nothing left for the first", () =>
    hostile(
      { takesX402: true, paid: [refusesConnection] },
      Effect.fnUntraced(function*({ chain, x402 }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual([x402.length, chain.mined.length], [1, 0])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("is gone at once where the payer lacks the money for the first, or no node answers", () =>
    Effect.forEach(["funds", "nodes"], (lacks) =>
      hostile(
        { takesX402: true },
        Effect.fnUntraced(function*({ chain, x402 }) {
          if (lacks === "funds") chain.balance = 0n
          else chain.lie = () => "down"
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.strictEqual(x402.length, 1)
          assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        })
      ), { discard: true }))

  it.effect("is gone where the payer's own transaction was reverted: with its fee, no more than was approved is spent", () =>
    hostile(
      { takesX402: true, rail: { mode: "push" } },
      Effect.fnUntraced(function*({ chain, x402 }) {
        chain.reverts = true
        yield* outcome(buy())
        assert.isAtMost(x402.length, 1)
        assert.strictEqual(chain.mined.length, 1)
      })
    ))

  it.effect("is not gone after the payer's own transaction was mined, whatever the merchant says", () =>
    hostile(
      { takesX402: true, rail: { mode: "push" }, paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain, x402 }) {
        for (let n = 0; n < 2; n++) assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.deepStrictEqual([x402.length, chain.mined.length], [0, 1])
      })
    ))
})

describe("a clock that is wrong", () => {
  for (const mode of modes) {
    for (const skew of [-600, -40, -20, 20, 40, 600]) {
      it.effect(`makes a Tempo charge fail, or pay once: ${skew} seconds (${mode})`, () =>
        hostile(
          { rail: { mode }, paid: [replays] },
          Effect.fnUntraced(function*(world) {
            world.chain.skew = skew
            yield* outcome(buy())
            yield* outcome(buy())
            assert.isAtMost(world.chain.mined.length, 2)
            for (const it of yield* World.authorizations) assert.isAtMost(world.takenFor([it]).transactions, 1)
            yield* pass(1_300_000)
            yield* sweep
          })
        ))
    }

    it.effect(`does not matter for a Tempo charge within twenty seconds (${mode})`, () =>
      Effect.forEach([-20, -5, 5, 15], (skew) =>
        hostile(
          { rail: { mode }, paid: [honest] },
          Effect.fnUntraced(function*(world) {
            world.chain.skew = skew
            assert.strictEqual(yield* outcome(buy()), "content", `${skew} seconds`)
            assert.deepStrictEqual(world.chain.moved, [price])
          })
        ), { discard: true }))
  }
})

describe("a ledger that fails under a Tempo charge", () => {
  type Ledger = Ledger.Ledger["Service"]

  const broken = new LedgerUnavailable({ operation: "write", detail: "the disk is full" })

  /** Fails at the nth writing of a kind. */
  const failing = (member: "authorize" | "advanced" | "judged" | "delivered" | "resent", nth: number) => {
    let count = 0
    return (ledger: Ledger): Ledger => ({
      ...ledger,
      [member]: (...args: ReadonlyArray<never>) =>
        Effect.suspend(() =>
          ++count === nth
            ? Effect.fail(broken)
            : (ledger[member] as unknown as (...args: ReadonlyArray<never>) => Effect.Effect<void>)(...args)
        )
    })
  }

  for (const mode of modes) {
    for (const member of ["authorize", "advanced", "judged", "delivered", "resent"] as const) {
      for (const nth of [1, 2, 3]) {
        it.effect(`pays once at most: ${member}, time ${nth} (${mode})`, () =>
          hostile(
            { rail: { mode }, paid: [takes(cuts), replays], ledger: failing(member, nth) },
            Effect.fnUntraced(function*(world) {
              yield* outcome(buy())
              assert.isAtMost(world.chain.mined.length, 1)
              if (member === "authorize" && nth === 1) assert.strictEqual(world.signed.length, 0)
              if (member === "advanced" && nth === 1 && mode === "push") assert.strictEqual(world.chain.mined.length, 0)
              yield* world.restart(outcome(buy()))
              for (const it of yield* World.authorizations) assert.isAtMost(world.takenFor([it]).transactions, 1)
            })
          ))
      }
    }
  }
})
