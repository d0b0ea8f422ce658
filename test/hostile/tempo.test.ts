/**
 * Merchants, sponsors and demands that lie, over Tempo charges that the merchant broadcasts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { keccak256 } from "viem/utils"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import { breaksOff, cuts, hangs, status, withoutReceipt } from "./merchant.ts"
import { alreadyUsed, claims, demandsAgain, honest, refuses, replays, type Step, takes } from "./tempoMerchant.ts"
import * as World from "./tempoWorld.ts"

const { buy, failure, hostile, order, outcome, pass, patiently, price, standing, states, sweep } = World

const memo = (digit: string) => `0x${digit.repeat(64)}`

/** Everything that was signed is one transaction, and it moved the price once. */
const once = ({ chain, signed }: World.World) => {
  assert.deepStrictEqual(chain.moved, [price])
  assert.strictEqual(new Set(signed).size, 1, "one transaction, however often it was signed")
}

const decoded = (signed: string) => Option.getOrThrow(TempoTransaction.decode(signed))

const lastEvidence = Effect.map(World.authorizations, (all) => all.at(-1)!.evidence.at(-1)!)

describe("a merchant that lies about a Tempo charge", () => {
  it.effect("pays an honest one once, and knows the hash before it sends", () =>
    hostile(
      {},
      Effect.fnUntraced(function*(world) {
        assert.deepStrictEqual(yield* buy(), { bought: "content" })
        once(world)
        assert.strictEqual(world.paid().length, 1)
        assert.strictEqual(keccak256(world.signed[0]!), world.chain.mined[0]!.hash)
        assert.deepStrictEqual(yield* states, ["charge settled (claimed)"])
        yield* pass("10 seconds")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: world.chain.taken, exposed: 0n })
      })
    ))

  it.effect("signs what is void after the challenge has expired, and no later than half a minute from now", () =>
    hostile(
      { paid: [honest] },
      Effect.fnUntraced(function*(world) {
        yield* buy()
        const { nonce, nonceKey, validBefore } = decoded(world.signed[0]!)
        assert.deepStrictEqual([nonceKey, nonce], [TempoTransaction.expiringNonceKey, 0n])
        assert.isAtMost(validBefore!, World.start / 1000 + 30)
      })
    ))

  it.effect("signs nothing that is valid for longer than its challenge", () =>
    hostile(
      { change: { challenge: { expires: new Date(World.start + 20_000).toISOString() } } },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.isAtMost(decoded(world.signed[0]!).validBefore!, World.start / 1000 + 20)
      })
    ))

  it.effect("signs once for one that takes the money and demands it again, for ever", () =>
    hostile(
      { paid: [takes(demandsAgain), demandsAgain] },
      Effect.fnUntraced(function*(world) {
        world.chain.lie = () => "down"
        yield* Effect.ignore(buy())
        assert.deepStrictEqual(world.chain.moved, [], "without a node nothing is signed")
        world.chain.lie = ({ method }) => world.signed.length > 0 && method !== "eth_call" ? "down" : undefined
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        world.chain.lie = () => undefined
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (observed)"])
        once(world)
        assert.strictEqual(world.paid().length, 1)
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        once(world)
      })
    ))

  it.effect("signs nothing anew for one whose price rises with every answer", () =>
    hostile(
      { paid: [2, 3, 4, 5].map((times): Step => ({ demand }) => demand({ request: { amount: `${times}0000` } })) },
      Effect.fnUntraced(function*(world) {
        for (let n = 0; n < 3; n++) assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(new Set(world.signed).size, 1)
        assert.deepStrictEqual(world.chain.moved, [])
        const [authorization] = yield* World.authorizations
        assert.strictEqual(authorization!.plan.units, price)
      })
    ))

  it.effect("delivers with the receipt of another transaction: returns the content, and finds out what became of ours", () =>
    hostile(
      { paid: [takes(claims(`0x${"9".repeat(64)}`))] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        const [authorization] = yield* World.authorizations
        assert.isTrue(authorization!.evidence.some(({ mismatch }) => mismatch === true), "it is flagged")
        yield* sweep
        assert.match((yield* states)[0]!, /^charge settled \((?:observed|proven)\)$/)
        once(world)
      })
    ))

  it.effect("delivers with the receipt of another transaction, and never takes ours: returns the hold", () =>
    hostile(
      { paid: [claims(`0x${"9".repeat(64)}`)] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.isTrue((yield* standing()).exposed > price, "the price and the fee are held")
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("names another challenge in its receipt: returns the content, and finds out", () =>
    hostile(
      {
        paid: [(sale) =>
          Effect.flatMap(
            sale.take,
            (hash) => Effect.sync(() => claims(hash!, { challengeId: "ch_9" })(sale) as Response)
          )]
      },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        yield* sweep
        assert.match((yield* states)[0]!, /^charge settled/)
        once(world)
      })
    ))

  it.effect("claims in its receipt what never was: counts it as spent, and returns it when the chain proves otherwise", () =>
    hostile(
      {
        paid: [(sale) => claims(keccak256(sale.payload?.type === "transaction" ? sale.payload.signature : "0x"))(sale)]
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* states, ["charge settled (claimed)"])
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("delivers before it broadcasts, and never does: the content is returned, and in the end the hold", () =>
    hostile(
      { paid: [withoutReceipt(200)] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.match((yield* states)[0]!, /^charge unknown/)
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("delivers before it broadcasts, and does so in the last second", () =>
    hostile(
      { paid: [withoutReceipt(200)] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        yield* broadcastInTheLastSecond(world)
        yield* sweep
        assert.match((yield* states)[0]!, /^charge settled/)
        once(world)
      })
    ))

  it.effect("says that the transaction was used already: knows it for paid and not delivered", () =>
    hostile(
      { paid: [takes(refuses("verification-failed", 402, alreadyUsed))] },
      Effect.fnUntraced(function*(world) {
        const { money, reason } = yield* failure(buy())
        assert.deepStrictEqual([reason._tag, money], ["PaidUndelivered", "spent"])
        assert.strictEqual((yield* lastEvidence).reference, world.chain.mined[0]!.hash)
        once(world)
      })
    ))

  for (const code of ["payment-expired", "verification-failed", "malformed-credential"]) {
    it.effect(`refuses with ${code}: holds the amount until a final block has outlived it, and signs nothing else`, () =>
      hostile(
        { paid: [refuses(code)] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(buy()), "PaymentRejected (held)")
          assert.deepStrictEqual(yield* states, ["charge rejected (claimed)"])
          yield* outcome(buy())
          assert.strictEqual(new Set(world.signed).size, 1)
          yield* pass("1 minute")
          yield* sweep
          assert.deepStrictEqual(yield* states, ["charge released (proven)"])
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        })
      ))

    it.effect(`refuses with ${code}, and broadcasts in the last second all the same: it is found, and counted`, () =>
      hostile(
        { paid: [refuses(code)] },
        Effect.fnUntraced(function*(world) {
          yield* outcome(buy())
          yield* broadcastInTheLastSecond(world)
          yield* sweep
          assert.match((yield* states)[0]!, /^charge settled/)
          once(world)
        })
      ))
  }

  it.effect("does not know its own challenge any more: nobody knows, until the chain does", () =>
    hostile(
      { paid: [refuses("invalid-challenge")] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("fails after it took the money, and says so in a receipt: paid and not delivered", () =>
    hostile(
      { paid: [takes(status(500))] },
      Effect.fnUntraced(function*(world) {
        const { money, reason } = yield* failure(buy())
        assert.deepStrictEqual([reason._tag, money], ["PaidUndelivered", "spent"])
        assert.include(JSON.stringify(reason), world.chain.mined[0]!.hash)
        once(world)
      })
    ))

  for (
    const [name, step] of [
      ["the connection breaks", cuts],
      ["it is unavailable", withoutReceipt(503)],
      ["it limits the rate", withoutReceipt(429, { "retry-after": "1" })]
    ] as ReadonlyArray<readonly [string, Step]>
  ) {
    it.effect(`gets the same bytes again when ${name} after it took the money`, () =>
      hostile(
        { paid: [takes(step), replays] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.strictEqual(world.paid().length, 2)
          assert.strictEqual(new Set(world.transactions()).size, 1)
          once(world)
        })
      ))

    it.effect(`gets a POST once when ${name} after it took the money`, () =>
      hostile(
        { paid: [takes(step), replays] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
          assert.strictEqual(yield* outcome(order()), "PaidUndelivered (spent)")
          assert.strictEqual(world.paid().length, 1)
          once(world)
        })
      ))

    it.effect(`gets a POST with an idempotency key again when ${name}, with the same bytes`, () =>
      hostile(
        { paid: [takes(step), replays] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(yield* outcome(order("order-1")), "content")
          assert.strictEqual(new Set(world.transactions()).size, 1)
          once(world)
        })
      ))
  }

  it.effect("breaks the content off: the next equal request resumes the purchase", () =>
    hostile(
      { paid: [takes(breaksOff), replays] },
      Effect.fnUntraced(function*(world) {
        assert.notStrictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(yield* outcome(buy()), "content")
        once(world)
      })
    ))

  it.effect("never answers: the payment is given up when it can no longer be taken, and returned when that is final", () =>
    hostile(
      { paid: [hangs] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "Unavailable (unspent)")
        const { validBefore } = decoded(world.signed[0]!)
        assert.isAtLeast(yield* world.now, validBefore!)
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("sells to five equal requests at once for five payments", () =>
    hostile(
      {},
      Effect.fnUntraced(function*({ chain, signed }) {
        yield* patiently(Effect.all(Array.from({ length: 5 }, () => World.fetch()), { concurrency: "unbounded" }))
        assert.deepStrictEqual(chain.moved, Array.from({ length: 5 }, () => price))
        assert.strictEqual(new Set(signed).size, 5)
      })
    ))

  it.effect("answers five equal requests with one and the same challenge: they are five payments all the same", () =>
    hostile(
      { computesIds: true },
      Effect.fnUntraced(function*({ chain, signed }) {
        const five = Array.from({ length: 5 }, () => outcome(World.fetch()))
        const outcomes = yield* patiently(Effect.all(five, { concurrency: "unbounded" }))
        assert.deepStrictEqual(outcomes, five.map(() => "content"))
        assert.strictEqual(new Set(signed).size, 5)
        assert.strictEqual(chain.mined.length, 5)
      })
    ))

  it.effect("48: names the memo of last week again: last week's transfer does not settle today's payment", () =>
    hostile(
      { change: { details: { memo: memo("7") } }, paid: [honest, demandsAgain] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        yield* pass("7 days")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge settled (proven)", "charge released (proven)"])
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("48: names one memo twice in the same second: each transfer settles its own payment", () =>
    hostile(
      { change: { details: { memo: memo("7") } }, paid: [takes(cuts), cuts, cuts, cuts, cuts, cuts, cuts, cuts] },
      Effect.fnUntraced(function*({ chain }) {
        const two = ["a", "b"].map((path) => outcome(World.fetch(`${World.origin}/${path}`)))
        yield* patiently(Effect.all(two, { concurrency: "unbounded" }))
        yield* pass("1 minute")
        yield* sweep
        assert.strictEqual(chain.mined.length, 1)
        assert.deepStrictEqual((yield* states).toSorted(), ["charge released (proven)", "charge settled (proven)"])
      })
    ))
})

/** The merchant keeps what it was given, and broadcasts it when it is about to expire. */
const broadcastInTheLastSecond = Effect.fnUntraced(function*(world: World.World, sponsors = false) {
  const [transaction] = world.transactions()
  const last = decoded(transaction!).validBefore! - 1
  yield* pass(last * 1000 - (yield* world.now) * 1000)
  assert.deepInclude(Object.keys(world.chain.submit(transaction!, last, sponsors)), "hash")
})

describe("a merchant that sponsors a Tempo charge", () => {
  it.effect("is given a transaction without a fee, and the payer loses nothing but the price", () =>
    hostile(
      { sponsors: true },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        const { feeToken, sponsored } = decoded(world.signed[0]!)
        assert.deepStrictEqual([sponsored, feeToken], [true, undefined])
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        once(world)
      })
    ))

  it.effect("47: holds it until the last second: nobody knows till then, and its log settles it", () =>
    hostile(
      { sponsors: true, paid: [cuts] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("5 seconds")
        yield* sweep
        assert.match((yield* states)[0]!, /^charge unknown/)
        yield* broadcastInTheLastSecond(world, true)
        yield* sweep
        assert.match((yield* states)[0]!, /^charge settled/)
        assert.strictEqual((yield* lastEvidence).reference, world.chain.mined[0]!.hash)
        once(world)
      })
    ))

  it.effect("never broadcasts it: the hold is returned when a final block has outlived it", () =>
    hostile(
      { sponsors: true, paid: [cuts] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        yield* pass("1 minute")
        yield* sweep
        assert.deepStrictEqual(yield* states, ["charge released (proven)"])
      })
    ))

  it.effect("is never presented a hash, even where it asks for one", () =>
    hostile(
      { sponsors: true, change: { details: { supportedModes: ["push"] } } },
      Effect.fnUntraced(function*({ signed }) {
        assert.strictEqual(yield* outcome(buy()), "NoPayableOffer (unspent)")
        assert.strictEqual(signed.length, 0)
      })
    ))

  it.effect("is refused where the program pays its fees itself", () =>
    hostile(
      { sponsors: true, rail: { sponsored: false } },
      Effect.fnUntraced(function*({ signed }) {
        assert.strictEqual(yield* outcome(buy()), "NoPayableOffer (unspent)")
        assert.strictEqual(signed.length, 0)
      })
    ))
})
