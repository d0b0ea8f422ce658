/**
 * Payments over a ledger that fails: what was signed and sent meanwhile, and what the payer was told.
 */
import { assert } from "@effect/vitest"
import { Effect, Layer, Option, Ref } from "effect"
import { HttpClient } from "effect/http"
import * as Ledger from "../../src/Ledger.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Shop from "./processesRail.ts"

/** A merchant, and an agent that pays him. */
export const market = Effect.gen(function*() {
  const shop = yield* Shop.merchant
  const signed: Array<string> = []
  const between = yield* Ref.make<Effect.Effect<void>>(Effect.void)
  const onSign = (nonce: string) =>
    Effect.andThen(Effect.sync(() => signed.push(nonce)), Effect.flatten(Ref.getAndSet(between, Effect.void)))

  const pay = (path: string) =>
    HttpClient.get(`${shop.origin}${path}`).pipe(
      Effect.flatMap((response) => response.text),
      Effect.map((text): string => JSON.parse(text).sold)
    )

  /** Why a payment was not made. */
  const refusal = (path: string) =>
    Effect.flatMap(
      Effect.flip(pay(path)),
      (error) => Effect.fromOption(Option.map(PaymentError.find(error), ({ money, reason }) => ({ money, reason })))
    )

  return {
    shop,
    signed,
    pay,
    refusal,
    agent: <E, R>(ledger: Layer.Layer<Ledger.Ledger, E, R>) =>
      Shop.agent({ origin: shop.origin, ledger: Layer.fresh(ledger), onSign }),
    /** Something that happens once: when the next payment is written down, and before it is sent. */
    beforeSending: (effect: Effect.Effect<void>) => Ref.set(between, effect),
    /** The ledger fails: nothing is signed, nothing is sent, and the payer is told so in words. */
    fails: Effect.fnUntraced(function*(path: string, words: RegExp) {
      const before = [signed.length, shop.presented.length]
      const { money, reason } = yield* refusal(path)
      assert.strictEqual(reason._tag, "LedgerUnavailable")
      assert.strictEqual(money, "unspent")
      assert.match(reason.message, words)
      assert.deepStrictEqual([signed.length, shop.presented.length], before)
    })
  }
})

/** Micro-dollars that are spent and exposed, and the states of all that was authorised. */
export const standing = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const { exposed, spent } = yield* ledger.standing("agent:default", 3_600_000)
  const paid = yield* ledger.purchases({})
  return {
    spent,
    exposed,
    states: paid.flatMap(({ authorizations }) => authorizations.map(({ state }) => state)).toReversed()
  }
})
