/**
 * Merchants, facilitators and nodes that lie, over x402.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Asset from "../../src/Asset.ts"
import * as Payment from "../../src/Payment.ts"
import * as Chain from "./chain.ts"
import {
  claims,
  cuts,
  demandsAgain,
  honest,
  refuses,
  replays,
  type Reply,
  type Sale,
  status,
  type Step,
  takes,
  withoutReceipt
} from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, hostile, order, outcome, pass, price, standing, states, sweep } = World

const pending: Step = claims(402, { success: false, errorReason: "settlement_pending" })

/** Takes the money, and says for some seconds that it is under way. */
const slowly = (seconds: number): Step => {
  let since: number | undefined
  return (sale: Sale) =>
    Effect.clockWith((clock) => {
      const now = clock.currentTimeMillisUnsafe()
      since ??= now
      return now - since < seconds * 1000
        ? Effect.succeed(pending(sale) as Reply)
        : (honest(sale) as Effect.Effect<Reply>)
    })
}

/** The last second in which the payment can be taken. */
const takeInTheLastSecond = Effect.fnUntraced(function*({ chain, seen }: World.World) {
  const { authorization } = seen.find((it) => it.authorization !== undefined)!
  yield* pass((Number(authorization!.validBefore) - 1) * 1000 - World.start)
  chain.settle(authorization!, Number(authorization!.validBefore) - 1)
})

describe("a merchant that lies about an x402 payment", () => {
  it.effect("pays an honest one once", () =>
    hostile(
      {},
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        assert.deepStrictEqual(yield* buy(), { bought: "content" })
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual([paid().length, signatures()], [1, 1])
        assert.deepStrictEqual(yield* states, ["charge settled (claimed)"])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("1: signs once for one that takes the money and demands it again, for ever", () =>
    hostile(
      { paid: [takes(demandsAgain), demandsAgain] },
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        chain.manners.set("rpc.test", "down")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
        chain.manners.set("rpc.test", "honest")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual([paid().length, signatures()], [1, 1])
      })
    ))

  it.effect("2: holds what was refused, and finds that it was taken in the last second", () =>
    hostile(
      { paid: [refuses("invalid_exact_evm_signature")] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "PaymentRejected (held)")
        assert.deepStrictEqual(yield* states, ["charge rejected (claimed)"])
        assert.strictEqual(yield* outcome(buy()), "PaymentRejected (held)", "it is sent again, and not signed again")
        yield* takeInTheLastSecond(world)
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        assert.strictEqual(world.signatures(), world.paid().length)
        assert.strictEqual(new Set(world.paid().map((it) => it.authorization!.nonce)).size, 1)
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("3: uses another rail after a refusal once a final block has outlived the payment, and not before", () =>
    hostile(
      {
        sells: ["x402", "session"],
        paid: [refuses("invalid_exact_evm_insufficient_balance"), honest]
      },
      Effect.fnUntraced(function*({ chain, moved, paid }) {
        const elsewhere = buy().pipe(Payment.with({ rails: ["mpp/token-session"] }))
        assert.strictEqual(yield* outcome(buy()), "PaymentRejected (held)")
        yield* pass("57 seconds")
        assert.strictEqual(yield* outcome(elsewhere), "PaymentUncertain (unknown)")
        assert.strictEqual(paid().length, 1)
        yield* pass("30 seconds")
        assert.strictEqual(yield* outcome(elsewhere), "content")
        assert.deepStrictEqual(chain.moved, [])
        assert.strictEqual(yield* moved, price)
        assert.include(yield* states, "charge released (proven)")
      })
    ))

  it.effect("4: sends the same payment again when the connection broke after it was taken", () =>
    hostile(
      { paid: [takes(cuts), replays] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(chain.moved, [price])
        const [first, second] = paid()
        assert.deepStrictEqual(first!.headers["payment-signature"], second!.headers["payment-signature"])
      })
    ))

  it.effect("5: sends nothing again of a POST without an idempotency key", () =>
    hostile(
      { paid: [takes(cuts), replays] },
      Effect.fnUntraced(function*({ chain, paid }) {
        chain.manners.set("rpc.test", "down")
        assert.strictEqual(yield* outcome(order()), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(order()), "PaymentUncertain (unknown)")
        chain.manners.set("rpc.test", "honest")
        assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
        assert.strictEqual(paid().length, 1)
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  for (
    const [name, step] of [
      ["an outage", withoutReceipt(503)],
      ["a rate limit", withoutReceipt(429, { "retry-after": "1" })],
      ["a settlement under way", pending]
    ] as const
  ) {
    it.effect(`5: nor after ${name}`, () =>
      hostile(
        { paid: [step] },
        Effect.fnUntraced(function*({ paid }) {
          for (let n = 0; n < 2; n++) assert.strictEqual(yield* outcome(order()), "PaymentUncertain (unknown)")
          assert.strictEqual(paid().length, 1)
        })
      ))
  }

  it.effect("6: sends a POST with an idempotency key again, with the same payment", () =>
    hostile(
      { paid: [takes(cuts), replays] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(order("order-1")), "content")
        assert.strictEqual(new Set(paid().map((it) => it.headers["payment-signature"])).size, 1)
        assert.strictEqual(paid().length, 2)
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("7: asks again every two seconds while a settlement is under way, for as long as it can be taken", () =>
    hostile(
      { paid: [slowly(25)] },
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(signatures(), 1)
        assert.deepStrictEqual(chain.moved, [price])
        assert.isAtMost(paid().length, 15)
      })
    ))

  it.effect("7: gives up asking when the payment is about to expire, and holds it", () =>
    hostile(
      { paid: [pending] },
      Effect.fnUntraced(function*({ signatures }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(signatures(), 1)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("8: knows a pending settlement for done when the nonce is used, and gives the transaction as evidence", () =>
    hostile(
      { paid: [takes(pending), refuses("invalid_exact_evm_nonce_already_used")] },
      Effect.fnUntraced(function*({ chain }) {
        const { reason } = yield* failure(buy())
        assert.strictEqual(reason._tag, "PaidUndelivered")
        yield* sweep
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.evidence.at(-1)!.reference, chain.transfers[0]!.transaction)
      })
    ))

  it.effect("9: finds the payment that somebody else submitted before the merchant could", () =>
    hostile(
      { paid: [takes(refuses("invalid_exact_evm_transaction_simulation_failed"))] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.evidence.at(-1)!.reference, chain.transfers[0]!.transaction)
      })
    ))

  it.effect("19: returns content that comes without a receipt, and asks the chain in the background", () =>
    hostile(
      { paid: [takes(withoutReceipt(200))] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
      })
    ))

  it.effect("20: counts what a receipt claims as spent, and returns it when the chain proves that it never was", () =>
    hostile(
      { paid: [claims(200, { transaction: `0x${"9".repeat(64)}` })] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("21: returns content that comes with a failed settlement, and holds the amount", () =>
    hostile(
      { paid: [claims(200, { success: false, errorReason: "insufficient_funds" })] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("22: knows a failure with a receipt for paid and not delivered", () =>
    hostile(
      { paid: [takes(status(500))] },
      Effect.fnUntraced(function*({ chain }) {
        const { money, reason } = yield* failure(buy())
        assert.deepStrictEqual([reason._tag, money], ["PaidUndelivered", "spent"])
        assert.include(JSON.stringify(reason), chain.transfers[0]!.transaction)
      })
    ))

  it.effect("32: tries the other version's envelope with the same payment where the first was not looked at", () =>
    hostile(
      {
        sells: ["x402", "x402 v1"],
        paid: [(sale) => sale.request.headers["x-payment"] === undefined ? sale.demand() : honest(sale)]
      },
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual([paid().length, signatures(), chain.moved.length], [2, 1, 1])
        assert.strictEqual(new Set(paid().map((it) => it.authorization!.nonce)).size, 1)
      })
    ))

  it.effect("36: signs nothing anew for a price that rose after the payment", () =>
    hostile(
      { paid: [({ demand }) => demand({ amount: "40000" })] },
      Effect.fnUntraced(function*({ chain, signatures }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(signatures(), 2, "the same authorisation, signed again")
        assert.deepStrictEqual(chain.moved, [])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("37: loses no more than once to a merchant that submits a payment again on another route", () =>
    hostile(
      { paid: [takes((sale) => Effect.as(sale.take(), new Response("{}", { headers: sale.receipt() })))] },
      () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        })
    ))
})

describe("a chain or a node that lies about an x402 payment", () => {
  it.effect("10: releases what was cancelled on the chain, and does not count it as spent", () =>
    hostile(
      { paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        chain.cancel(paid()[0]!.authorization!, World.start / 1000 + 1)
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price }, "not before it is final")
        yield* pass("25 seconds")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("11: releases nothing while the chain stands still, and finds what it includes late with an old stamp", () =>
    hostile(
      { paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain, paid }) {
        yield* outcome(buy())
        chain.halt()
        yield* pass("5 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
        chain.settle(paid()[0]!.authorization!, World.start / 1000 + 30)
        chain.goOn()
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (proven)"])
      })
    ))

  it.effect("12: exposes again what was in a block that is gone, and releases it when it was not included again", () =>
    hostile(
      { paid: [takes(cuts), cuts] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        chain.reorganise(World.start / 1000)
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (observed)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("13: believes no node that answers for another chain", () =>
    hostile(
      { paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc.test", "stranger")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
      })
    ))

  it.effect("14: releases nothing while two nodes disagree", () =>
    hostile(
      { nodes: 2, paid: [takes(demandsAgain)] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc2.test", "blind")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("15: presumes what nobody can be asked about, and corrects it when the node is back", () =>
    hostile(
      { paid: [demandsAgain] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc.test", "down")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("30 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
        yield* pass("90 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge presumed (presumed)"])
        chain.manners.set("rpc.test", "honest")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("16: takes a used nonce for spent where the node keeps no logs", () =>
    hostile(
      { paid: [takes(demandsAgain)] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc.test", "pruned")
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.evidence.at(-1)!.what, "state")
      })
    ))

  it.effect("17: is not held up by a node that never answers, neither before signing nor after a lost answer", () =>
    hostile(
      { paid: [honest, takes(demandsAgain)] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc.test", "hangs")
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(yield* outcome(buy(`${World.origin}/other`)), "PaymentUncertain (unknown)")
      })
    ))

  it.effect("18: presumes without a node, one hour after the payment can no longer be taken, and never releases", () =>
    hostile(
      { nodes: 0, paid: [demandsAgain] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("60 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge unknown (claimed)"])
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge presumed (presumed)"])
        yield* pass("30 days")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge presumed (presumed)"])
      })
    ))

  it.effect("38: signs nothing with a wallet that has code", () =>
    hostile(
      {},
      Effect.fnUntraced(function*({ chain, paid, signatures }) {
        chain.manners.set("rpc.test", "delegated")
        assert.strictEqual(yield* outcome(buy()), "WalletError (unspent)")
        assert.deepStrictEqual([paid().length, signatures()], [0, 0])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))
})

describe("an x402 demand that is not what it seems", () => {
  /** The outcome of a demand, and how much was signed for it. */
  const demanding = (
    requirement: Record<string, unknown>,
    expected: string,
    more: Partial<World.Options> = {}
  ) =>
    hostile(
      { requirement: requirement as {}, paid: [honest], ...more },
      Effect.fnUntraced(function*({ signatures }) {
        assert.strictEqual(yield* outcome(buy()), expected, JSON.stringify(requirement))
        assert.strictEqual(signatures(), expected === "content" ? 1 : 0)
      })
    )

  const each = (name: string, cases: ReadonlyArray<Record<string, unknown>>, expected: string) =>
    it.effect(name, () => Effect.forEach(cases, (requirement) => demanding(requirement, expected), { discard: true }))

  it.effect("23: signs for a minute at most, however patient the merchant is", () =>
    hostile(
      { requirement: { maxTimeoutSeconds: 31_536_000 } },
      Effect.fnUntraced(function*({ paid }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(Number(paid()[0]!.authorization!.validBefore), World.start / 1000 + 60)
      })
    ))

  each(
    "23: refuses a merchant that has no time, or a time that is none",
    [
      { maxTimeoutSeconds: 5 },
      { maxTimeoutSeconds: -60 },
      { maxTimeoutSeconds: null },
      { maxTimeoutSeconds: 1.5 }
    ],
    "NoPayableOffer (unspent)"
  )

  each(
    "24: refuses amounts that are none",
    ["1e4", "-1", "0x10", "", " 1", "1.0", "9".repeat(1_000_000), (2n ** 256n).toString(), 10_000, null]
      .map((amount) => ({ amount })),
    "NoPayableOffer (unspent)"
  )

  each("25: does not take an amount of nothing for free", [{ amount: "0" }], "NoPayableOffer (unspent)")

  it.effect("26: takes decimals, contract and chain from its own table, whatever the demand says", () =>
    hostile(
      {
        requirement: {
          extra: { name: "USDC", version: "2", decimals: 18, verifyingContract: `0x${"66".repeat(20)}`, chainId: 1 }
        }
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.spentUsd, price)
        const { domain } = authorization!.plan.data as { readonly domain: Record<string, unknown> }
        assert.deepInclude(domain, { chainId: 84532, name: "USDC" })
        assert.strictEqual(String(domain.verifyingContract).toLowerCase(), Chain.token.toLowerCase())
      })
    ))

  each("27: refuses a token's domain that is not its own", [
    { extra: { name: "Tether", version: "2" } },
    { extra: { name: "USDC", version: "3" } }
  ], "NoPayableOffer (unspent)")

  each("28, 29: refuses a token that it does not know, whatever it is called", [
    { asset: `0x${"77".repeat(20)}`, extra: {} },
    { asset: `0x${"77".repeat(20)}` },
    { asset: "USDC" }
  ], "NoPayableOffer (unspent)")

  each("29: knows its token in any case", [
    { asset: Chain.token.toLowerCase() },
    { asset: Chain.token }
  ], "content")

  it.effect("30: counts dust of an asset with 18 decimals as a micro-dollar each time", () => {
    const dust = new Asset.Asset({
      network: Chain.network,
      address: Chain.token.toLowerCase(),
      symbol: "DUST",
      decimals: 18,
      usd: true,
      testnet: true,
      domain: { name: "USDC", version: "2" }
    })
    return hostile(
      {
        assets: [dust],
        requirement: { amount: "100000000000" },
        inMicroDollars: () => 1n
      },
      Effect.fnUntraced(function*() {
        for (let n = 0; n < 20; n++) assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* standing(), { spent: 20n, exposed: 0n })
      })
    )
  })

  each("31: pays neither itself, nor nobody, nor the token", [
    { payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" },
    { payTo: `0x${"0".repeat(40)}` },
    { payTo: Chain.token }
  ], "NoPayableOffer (unspent)")

  it.effect("33: finds the one good offer among fifty", () => {
    const bad = (n: number) => ({ ...good, network: `eip155:${n + 1_000_000}` })
    return hostile(
      {
        unpaid: ({ demand }) => demand({}, { accepts: [...Array.from({ length: 49 }, (_, n) => bad(n)), good] })
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    )
  })

  it.effect("33: refuses ten thousand offers", () =>
    hostile(
      {
        unpaid: ({ demand }) => demand({}, { accepts: Array.from({ length: 10_000 }, () => good) })
      },
      Effect.fnUntraced(function*({ signatures }) {
        yield* outcome(buy())
        assert.strictEqual(signatures(), 0)
      })
    ))

  each("34: pays in no flow that it does not know", [
    { extra: { name: "USDC", version: "2", paymentFlow: "sideways" } }
  ], "NoPayableOffer (unspent)")

  it.effect("35: signs no approval, whatever extension asks for one", () =>
    hostile(
      {
        unpaid: ({ demand }) =>
          demand({}, {
            extensions: {
              erc20ApprovalGasSponsoring: {
                info: { spender: `0x${"66".repeat(20)}`, amount: (2n ** 256n - 1n).toString() }
              }
            }
          })
      },
      Effect.fnUntraced(function*({ signatures }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(signatures(), 1)
      })
    ))
})

const good = {
  scheme: "exact",
  network: Chain.network,
  amount: "10000",
  asset: Chain.token,
  payTo: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
  maxTimeoutSeconds: 60,
  extra: { name: "USDC", version: "2" }
}
