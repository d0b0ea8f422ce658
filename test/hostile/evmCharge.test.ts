/**
 * Merchants and nodes that lie, over MPP charges on EVM chains. The nonce of an authorisation is the digest of its challenge.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as EvmCharge from "../../src/wire/mpp/EvmCharge.ts"
import * as Chain from "./chain.ts"
import {
  breaksOff,
  cuts,
  demandsAgain,
  honest,
  refuses,
  replays,
  status,
  type Step,
  takes,
  withoutReceipt
} from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, hostile, order, outcome, pass, patiently, price, standing, states, sweep } = World

const sells = { sells: ["evm"] } as const

/** The last second in which the payment can be taken. */
const takeInTheLastSecond = Effect.fnUntraced(function*({ chain, paid }: World.World) {
  const { authorization } = paid()[0]!
  const last = Number(authorization!.validBefore) - 1
  yield* pass(last * 1000 - World.start)
  chain.settle(authorization!, last)
})

const nonces = ({ paid }: World.World) => new Set(paid().map((it) => it.authorization!.nonce))

describe("a merchant that lies about a charge on an EVM chain", () => {
  it.effect("pays an honest one once, by the nonce of its challenge", () =>
    hostile(
      sells,
      Effect.fnUntraced(function*(world) {
        assert.deepStrictEqual(yield* buy(), { bought: "content" })
        assert.deepStrictEqual(world.chain.moved, [price])
        assert.deepStrictEqual([...nonces(world)], [EvmCharge.nonce({ id: "ch_1", realm: "merchant.test" })])
        assert.deepStrictEqual(yield* states, ["charge settled (claimed)"])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("signs once for one that takes the money and demands it again, for ever", () =>
    hostile(
      { ...sells, paid: [takes(demandsAgain), demandsAgain] },
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        chain.manners.set("rpc.test", "down")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        chain.manners.set("rpc.test", "honest")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual([paid().length, signatures()], [1, 1])
      })
    ))

  it.effect("signs nothing anew for a price that rises", () =>
    hostile(
      { ...sells, paid: ["20000", "30000"].map((amount): Step => ({ demand }) => demand({ amount })) },
      Effect.fnUntraced(function*(world) {
        for (let n = 0; n < 3; n++) assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(nonces(world).size, 1)
        assert.isTrue(world.paid().every(({ authorization }) => authorization!.value === "10000"))
      })
    ))

  for (const code of ["verification-failed", "payment-expired", "malformed-credential"]) {
    it.effect(`holds what was refused with ${code}, and finds that it was taken in the last second`, () =>
      hostile(
        { ...sells, paid: [refuses(code)] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(buy()), "PaymentRejected (held)")
          yield* takeInTheLastSecond(world)
          yield* sweep
          assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
          assert.strictEqual(nonces(world).size, 1)
        })
      ))

    it.effect(`returns what was refused with ${code} when a final block has outlived it`, () =>
      hostile(
        { ...sells, paid: [refuses(code)] },
        Effect.fnUntraced(function*() {
          yield* outcome(buy())
          yield* pass("2 minutes")
          yield* sweep
          assert.deepStrictEqual(yield* states, ["charge released (proven)"])
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        })
      ))
  }

  for (const [name, step] of [["a broken connection", cuts], ["an outage", withoutReceipt(503)]] as const) {
    it.effect(`sends the same credential again after ${name}`, () =>
      hostile(
        { ...sells, paid: [takes(step), replays] },
        Effect.fnUntraced(function*({ chain, paid }) {
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.strictEqual(new Set(paid().map((it) => it.headers.authorization)).size, 1)
          assert.deepStrictEqual(chain.moved, [price])
        })
      ))

    it.effect(`sends a POST no second time after ${name}`, () =>
      hostile(
        { ...sells, paid: [takes(step), replays] },
        Effect.fnUntraced(function*({ chain, paid }) {
          for (let n = 0; n < 2; n++) assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
          assert.strictEqual(paid().length, 1)
          assert.deepStrictEqual(chain.moved, [price])
        })
      ))
  }

  it.effect("resumes a purchase whose content broke off", () =>
    hostile(
      { ...sells, paid: [takes(breaksOff), replays] },
      Effect.fnUntraced(function*({ chain }) {
        assert.notStrictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("knows for paid what is said to be used already", () =>
    hostile(
      { ...sells, paid: [takes(refuses("already_used"))] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.evidence.at(-1)!.reference, chain.transfers[0]!.transaction)
      })
    ))

  it.effect("knows a failure with a receipt for paid and not delivered", () =>
    hostile(
      { ...sells, paid: [takes(status(500))] },
      Effect.fnUntraced(function*({ chain }) {
        const { money, reason } = yield* failure(buy())
        assert.deepStrictEqual([reason._tag, money], ["PaidUndelivered", "spent"])
        assert.include(JSON.stringify(reason), chain.transfers[0]!.transaction)
      })
    ))

  it.effect("returns content without a receipt, and asks the chain", () =>
    hostile(
      { ...sells, paid: [takes(withoutReceipt(200))] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
      })
    ))

  it.effect("believes no other rail's demand before the first is proven void", () =>
    hostile(
      { ...sells, paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain, signatures }) {
        chain.halt()
        yield* outcome(buy())
        yield* pass("5 minutes")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(signatures(), 1)
      })
    ))

  it.effect("exposes again what was in a block that is gone, and releases it when it was not included again", () =>
    hostile(
      { ...sells, paid: [takes(cuts), cuts] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
        chain.reorganise(World.start / 1000)
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (observed)"])
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("releases nothing while two nodes disagree", () =>
    hostile(
      { ...sells, nodes: 2, paid: [takes(demandsAgain)] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc2.test", "blind")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("answers two requests with one challenge: no more moves than is counted, and nothing twice", () =>
    hostile(
      { ...sells, charge: { id: "always" }, paid: [honest] },
      Effect.fnUntraced(function*(world) {
        const two = ["a", "b"].map((path) => outcome(World.fetch(`${World.origin}/${path}`)))
        const outcomes = yield* patiently(Effect.all(two, { concurrency: "unbounded" }))
        assert.include(outcomes, "content")
        assert.deepStrictEqual(world.chain.moved, [price])
      })
    ))
})

describe("a charge on an EVM chain that is not what it seems", () => {
  const each = (
    name: string,
    cases: ReadonlyArray<{
      readonly charge?: { readonly [member: string]: string | undefined }
      readonly chargeRequest?: { readonly [member: string]: Schema.Json | undefined }
    }>,
    expected = "\\(unspent\\)$"
  ) =>
    it.effect(name, () =>
      Effect.forEach(cases, (demand) =>
        hostile(
          { ...sells, ...demand },
          Effect.fnUntraced(function*({ signatures }) {
            assert.match(yield* outcome(buy()), new RegExp(expected), JSON.stringify(demand))
            assert.strictEqual(signatures(), expected === "content" ? 1 : 0)
          })
        ), { discard: true }))

  const at = (seconds: number) => ({ charge: { expires: new Date(World.start + seconds * 1000).toISOString() } })
  const details = (members: Schema.JsonObject) => ({
    chargeRequest: { methodDetails: { chainId: 84532, credentialTypes: ["authorization"], ...members } }
  })

  each("signs nothing without an end, or where the end is past or near", [
    { charge: { expires: undefined } },
    at(-1),
    at(0),
    at(5),
    at(14)
  ])

  each("signs nothing for another chain, or for none", [
    details({ chainId: 1 }),
    details({ chainId: 0 }),
    details({ chainId: "84532" }),
    { chargeRequest: { methodDetails: undefined } }
  ])

  each("signs nothing where the merchant takes no authorisation, or wants several payees", [
    details({ credentialTypes: ["transaction"] }),
    details({ credentialTypes: [] }),
    details({ credentialTypes: ["permit2"] }),
    details({ splits: [{ amount: "1", recipient: `0x${"44".repeat(20)}` }] })
  ])

  each(
    "signs for no amount that is none",
    ["0", "1e4", "-1", "0x10", "", " 1", "1.0", "9".repeat(1_000), (2n ** 256n).toString(), 10_000, null]
      .map((amount) => ({ chargeRequest: { amount } }))
  )

  each("pays neither itself, nor nobody, nor the token", [
    { chargeRequest: { recipient: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" } },
    { chargeRequest: { recipient: `0x${"0".repeat(40)}` } },
    { chargeRequest: { recipient: Chain.token } },
    { chargeRequest: { recipient: undefined } }
  ])

  each("pays in no token that it does not know", [
    { chargeRequest: { currency: `0x${"77".repeat(20)}` } },
    { chargeRequest: { currency: "USDC" } }
  ])

  each("knows its token in any case", [{ chargeRequest: { currency: Chain.token.toLowerCase() } }], "content")

  it.effect("signs for a minute at most, and never beyond the challenge", () =>
    Effect.forEach([[30, 30], [86_400, 60]] as const, ([seconds, valid]) =>
      hostile(
        { ...sells, ...at(seconds) },
        Effect.fnUntraced(function*({ paid }) {
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.strictEqual(Number(paid()[0]!.authorization!.validBefore), World.start / 1000 + valid)
        })
      ), { discard: true }))

  it.effect("signs nothing with a wallet that has code", () =>
    hostile(
      sells,
      Effect.fnUntraced(function*({ chain, signatures }) {
        chain.manners.set("rpc.test", "delegated")
        assert.strictEqual(yield* outcome(buy()), "WalletError (unspent)")
        assert.strictEqual(signatures(), 0)
      })
    ))
})
