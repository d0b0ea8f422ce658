import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Ledger from "../src/Ledger.ts"
import { Offer } from "../src/Offer.ts"
import { LedgerUnavailable } from "../src/PaymentError.ts"
import { Plan } from "../src/Rails.ts"
import * as Warnings from "../src/Warnings.ts"
import { authorize, charge, judge, origin, purchaseOf } from "./ledger.ts"

const alice = `0xaA${"0".repeat(38)}`
const bob = `0xbb${"0".repeat(38)}`
const carol = `0xcc${"0".repeat(38)}`

const offer = (payee: string, ...alsoPays: ReadonlyArray<string>) =>
  new Offer({
    protocol: "mpp",
    intent: "charge",
    method: "tempo",
    network: "eip155:8453",
    asset: "0xdd",
    units: 10n,
    payee,
    ...(alsoPays.length === 0 ? {} : { alsoPays }),
    wire: {}
  })

/** A payment at an origin, as the ledger has it: settled, unless its outcome is open. */
const pay = Effect.fnUntraced(function*(id: string, payee: string, change: {
  readonly agent?: string
  readonly origin?: string
  readonly open?: boolean
} = {}) {
  const { agent = "a", origin: at = origin } = change
  const purchase = new Ledger.Purchase({ ...purchaseOf(`p-${id}`), agent, origin: at })
  const draft = charge(id, 10n, { purchase })
  const plan = new Plan({ ...draft.authorization.plan, payee })
  const authorization = new Ledger.Authorization({ ...draft.authorization, origin: at, plan })
  yield* authorize({ ...draft, authorization })
  if (change.open !== true) yield* judge(id, "settled", "proven", 10n)
})

const rail = { name: "tempo/charge" }

const warned = Effect.fnUntraced(function*(
  offers: ReadonlyArray<Offer>,
  { candidates = offers, list = [] }: {
    readonly candidates?: ReadonlyArray<Offer>
    readonly list?: ReadonlyArray<string>
  } = {}
) {
  const warn = Warnings.make(yield* Ledger.Ledger, { vouches: (payee) => list.includes(payee) })
  return yield* warn({
    agent: "a",
    origin,
    path: "/data",
    offers,
    candidates: candidates.map((candidate) => ({ offer: candidate, rail }))
  })
})

const stranger = (paid: "nobody" | "somebody else") =>
  "the payee over tempo/charge is unknown: no list of allowed payees names it, and this agent has lately paid " +
  `${paid} here`
const strangers = "not everybody who gets a part of the price over tempo/charge is on a list of allowed payees"

const fresh = Effect.provide(Ledger.layerMemory({ quiet: true }))

describe("a quote", () => {
  it.effect("warns of a payee that neither a list nor the ledger knows, once for each rail", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* warned([offer(alice), offer(bob)]), [stranger("nobody")])
      assert.deepStrictEqual(yield* warned([offer(alice)], { list: [alice] }), [])
      yield* pay("1", alice)
      assert.deepStrictEqual(yield* warned([offer(alice)]), [])
      assert.deepStrictEqual(yield* warned([offer(alice.toLowerCase())]), [])
      assert.deepStrictEqual(yield* warned([offer(bob)]), [stranger("somebody else")])
    }).pipe(fresh))

  it.effect("does not take a payee for known that another agent paid, or another origin has, or that nothing reached", () =>
    Effect.gen(function*() {
      yield* pay("1", alice, { agent: "b" })
      yield* pay("2", alice, { origin: "https://other.test" })
      yield* pay("3", alice, { open: true })
      assert.deepStrictEqual(yield* warned([offer(alice)]), [stranger("nobody")])
    }).pipe(fresh))

  it.effect("takes only a list's word for those who get a part", () =>
    Effect.gen(function*() {
      yield* pay("1", alice)
      yield* pay("2", bob)
      assert.deepStrictEqual(yield* warned([offer(alice, bob, carol)]), [strangers])
      assert.deepStrictEqual(yield* warned([offer(alice, bob, carol)], { list: [bob] }), [strangers])
      assert.deepStrictEqual(yield* warned([offer(alice, bob, carol)], { list: [bob, carol] }), [])
    }).pipe(fresh))

  it.effect("says nothing of payees that could not be paid, or have no name", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* warned([offer(alice, bob)], { candidates: [] }), [])
      assert.deepStrictEqual(yield* warned([offer("")]), [])
    }).pipe(fresh))

  it.effect("warns of what is odd about any offer, once", () =>
    Effect.gen(function*() {
      const odd = new Offer({ ...offer(alice), resource: "/other" })
      const said = yield* warned([odd, odd], { candidates: [] })
      assert.deepStrictEqual(said, ["the merchant says that it sells another URL than the one that was asked for"])
    }).pipe(fresh))

  it.effect("does without the ledger where that cannot be read, and does not ask it for nothing", () =>
    Effect.gen(function*() {
      let asked = 0
      const purchases = () =>
        Effect.suspend(() => {
          asked++
          return Effect.fail(new LedgerUnavailable({ operation: "purchases", detail: "the disk is gone" }))
        })
      const ask = (candidates: ReadonlyArray<Offer>, list: ReadonlyArray<string>) =>
        Warnings.make({ purchases }, { vouches: (payee) => list.includes(payee) })({
          agent: "a",
          origin,
          path: "/data",
          offers: candidates,
          candidates: candidates.map((candidate) => ({ offer: candidate, rail }))
        })
      assert.deepStrictEqual(yield* ask([], []), [])
      assert.deepStrictEqual(yield* ask([offer(alice)], [alice]), [])
      assert.strictEqual(asked, 0)
      assert.deepStrictEqual(yield* ask([offer(alice)], []), [stranger("nobody")])
      assert.strictEqual(asked, 1)
    }))
})
