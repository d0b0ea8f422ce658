/**
 * What every ledger does, whatever keeps its rows.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import * as Ledger from "../src/Ledger.ts"
import type { Rank } from "../src/Rails.ts"
import {
  advance,
  agentLimit,
  authorization,
  authorize,
  charge,
  claim,
  close,
  countLimit,
  deliver,
  drawing,
  hour,
  judge,
  live,
  money,
  notSent,
  opening,
  origin,
  purchase,
  purchaseOf,
  resend,
  session,
  standing,
  update
} from "./ledger.ts"
import { properties } from "./ledgerProperties.ts"

const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.propertyVal(error, "_tag", "LedgerUnavailable")
    return error
  })

const minutes = (count: number) => TestClock.adjust(`${count} minutes`)

const conduct = (windowMillis: number) =>
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.conduct(origin, windowMillis))

const unsettled = Effect.flatMap(
  Ledger.Ledger,
  (ledger) => Effect.map(ledger.unsettled, (found) => found.map(({ id }) => id).toSorted())
)

/**
 * The suite. `layer` makes an empty ledger each time that it is provided; `runs` is how often each property is tried.
 */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Ledger.Ledger, E>,
  options: { readonly runs: number } = { runs: 200 }
) => {
  const test = <A, E2>(sentence: string, effect: Effect.Effect<A, E2, Ledger.Ledger>) =>
    it.effect(sentence, () => Effect.provide(effect, layer))

  /** An authorisation in a state, by evidence of a rank. */
  const inState = (id: string, state: Ledger.State, rank: Rank) =>
    Effect.gen(function*() {
      yield* authorize(charge(id, 100n))
      if (state === "presumed") yield* judge(id, "unknown", "claimed")
      if (state !== "signed") yield* judge(id, state, rank)
    })

  describe(`a ledger: ${name}`, () => {
    describe("advanced", () => {
      test(
        "remembers how far a transaction came that its payer broadcasts, and moves no money",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          for (const step of ["broadcast", "mined", "presented"] as const) {
            yield* advance("a", step)
            assert.deepStrictEqual((yield* authorization("a")).broadcast, { transaction: "0x01", step })
          }
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
        })
      )

      test(
        "knows what was mined for ever, and one that was not presented after all",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* advance("a", "broadcast")
          yield* advance("a", "broadcast", "0x02")
          yield* advance("a", "presented", "0x02")
          yield* advance("a", "mined", "0x02")
          yield* advance("a", "broadcast", "0x02")
          assert.deepStrictEqual((yield* authorization("a")).broadcast, { transaction: "0x02", step: "mined" })
          yield* unavailable(advance("a", "broadcast", "0x03"))
        })
      )

      test(
        "is not for what is void",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* notSent("a")
          yield* unavailable(advance("a", "broadcast"))
        })
      )

      test(
        "leaves the fees spent of a transaction that the chain has undone",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* advance("a", "mined")
          yield* judge("a", "unknown", "observed")
          yield* judge("a", "released", "proven", 7n)
          assert.deepStrictEqual(yield* money(), { spent: 7n, exposed: 0n })
        })
      )
    })

    describe("authorize", () => {
      test(
        "takes the hold and writes the plan, together",
        Effect.gen(function*() {
          const draft = charge("a", 600n, { limits: [agentLimit(1_000n)] })
          yield* authorize(draft)
          assert.deepStrictEqual((yield* authorization("a")).plan, draft.authorization.plan)
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 600n, count: 1 })
          assert.strictEqual((yield* purchase("p-a")).delivery, "open")
        })
      )

      test(
        "refuses what would go over a limit, with the figures of that limit, and does nothing at all",
        Effect.gen(function*() {
          yield* authorize(charge("a", 300n))
          yield* judge("a", "settled", "claimed")
          yield* authorize(charge("b", 600n))
          const error = yield* Effect.flip(authorize(charge("c", 101n, { limits: [agentLimit(1_000n)] })))
          assert.deepInclude(error, {
            _tag: "BudgetExceeded",
            scope: "agent",
            limit: 1_000n,
            spent: 300n,
            exposed: 600n,
            requested: 101n
          })
          assert.deepStrictEqual(yield* standing(), { spent: 300n, exposed: 600n, count: 2 })
          yield* Effect.flip(authorization("c"))
          yield* Effect.flip(purchase("p-c"))
          yield* authorize(charge("c", 100n, { limits: [agentLimit(1_000n)] }))
        })
      )

      test(
        "asks every limit of a charge, each of its own counter and window",
        Effect.gen(function*() {
          const wallet: Ledger.Limit = { scope: "wallet", counter: "wallet:0x1", limit: 500n, windowMillis: 24 * hour }
          yield* authorize(charge("a", 400n))
          yield* judge("a", "settled", "claimed")
          yield* minutes(120)
          const error = yield* Effect.flip(authorize(charge("b", 200n, { limits: [agentLimit(500n), wallet] })))
          assert.deepInclude(error, { scope: "wallet", spent: 400n })
          yield* authorize(charge("b", 200n, { limits: [agentLimit(500n)] }))
        })
      )

      test(
        "counts a purchase once, whatever it takes, and not if it turns out void",
        Effect.gen(function*() {
          const limits = [countLimit(2n)]
          yield* authorize(charge("a", 10n, { limits }))
          yield* notSent("a")
          yield* authorize(charge("b", 10n, { limits }))
          yield* authorize(charge("a2", 10n, { limits, purchase: purchaseOf("p-a") }))
          const error = yield* Effect.flip(authorize(charge("c", 10n, { limits })))
          assert.deepInclude(error, { scope: "count", limit: 2n, spent: 2n, exposed: 0n, requested: 1n })
          yield* notSent("b")
          yield* deliver("p-b", "void")
          yield* authorize(charge("c", 10n, { limits }))
        })
      )

      test(
        "checks a draw against its session alone, but counts it",
        Effect.gen(function*() {
          yield* live("s", 100n, { limits: [agentLimit(100n)] })
          yield* authorize(drawing("a", "s", 60n, { limits: [agentLimit(100n), countLimit(2n)] }))
          const over = yield* Effect.flip(authorize(drawing("b", "s", 41n)))
          assert.deepInclude(over, {
            _tag: "BudgetExceeded",
            scope: "session",
            limit: 100n,
            spent: 0n,
            exposed: 60n,
            requested: 41n
          })
          assert.deepInclude(yield* session("s"), { spentUsd: 0n, reservedUsd: 60n })
          yield* authorize(drawing("b", "s", 40n, { limits: [countLimit(2n)] }))
          const many = yield* Effect.flip(authorize(drawing("c", "s", 0n, { limits: [countLimit(2n)] })))
          assert.deepInclude(many, { scope: "count", spent: 2n })
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
        })
      )

      for (const state of ["establishing", "expired", "suspect", "closing", "closed"] as const) {
        test(
          `refuses a draw on a session that is ${state}`,
          Effect.gen(function*() {
            yield* authorize(opening("s", 100n))
            if (state === "closed") yield* close("s", 0n)
            else yield* update("s", { state })
            const error = yield* unavailable(authorize(drawing("a", "s", 1n)))
            assert.include(error.message, state)
          })
        )
      }

      test(
        "refuses drafts that no program should make",
        Effect.gen(function*() {
          const good = charge("a", 100n)
          const { authorization: it } = good
          const bad = (change: Partial<Ledger.Authorization>): Ledger.Draft => ({
            ...good,
            authorization: new Ledger.Authorization({ ...it, ...change })
          })
          yield* unavailable(authorize({ ...good, purchase: Option.none() }))
          yield* unavailable(authorize(bad({ holdUsd: -1n, exposedUsd: -1n })))
          yield* unavailable(authorize(bad({ exposedUsd: 1n })))
          yield* unavailable(authorize(bad({ drawUsd: 1n })))
          yield* unavailable(authorize(bad({ state: "settled" })))
          yield* unavailable(
            authorize(bad({ counters: [] })).pipe(
              Effect.andThen(authorize({ ...bad({ id: "b", counters: [] }), limits: [agentLimit(1_000n)] }))
            )
          )
          yield* unavailable(authorize(drawing("c", "nowhere", 1n)))
          yield* unavailable(authorize({ ...opening("s", 1n), session: Option.none() }))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
        })
      )

      test(
        "writes an id once",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* unavailable(authorize(charge("a", 100n, { purchase: purchaseOf("other") })))
          yield* authorize(opening("s", 10n))
          yield* unavailable(authorize(opening("s", 10n)))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 110n })
        })
      )

      test(
        "takes no more for a purchase than its approved price, whatever else can be taken for it",
        Effect.gen(function*() {
          const at = (approvedUsd: bigint) => ({ purchase: purchaseOf("p", { approvedUsd }) })
          const over = yield* unavailable(authorize(charge("a", 101n, at(100n))))
          assert.include(over.message, "its approved price is $0.0001")
          yield* Effect.flip(purchase("p"))
          yield* authorize(charge("a", 60n, at(100n)))
          for (const state of ["unknown", "rejected", "settled"] as const) {
            yield* judge("a", state, "claimed")
            yield* unavailable(authorize(charge("b", 41n, at(100n))))
          }
          yield* live("s", 100n)
          yield* unavailable(authorize(drawing("b", "s", 41n, at(100n))))
          assert.deepInclude(yield* session("s"), { reservedUsd: 0n })
          yield* authorize(drawing("b", "s", 40n, at(100n)))
          yield* unavailable(authorize(charge("c", 1n, at(100n))))
          yield* judge("b", "released", "attested")
          yield* judge("a", "settled", "proven", 10n)
          yield* unavailable(authorize(charge("c", 91n, at(100n))))
          yield* authorize(charge("c", 90n, at(100n)))
          assert.deepStrictEqual(yield* money(), { spent: 10n, exposed: 190n })
        })
      )

      test(
        "takes over another price only when nothing can be taken for the one before",
        Effect.gen(function*() {
          const at = (approvedUsd: bigint) => ({ purchase: purchaseOf("p", { approvedUsd }) })
          yield* authorize(charge("a", 10n, at(10n)))
          yield* unavailable(authorize(charge("b", 20n, at(1_000n))))
          assert.deepInclude(yield* purchase("p"), { approvedUsd: 10n, doubleSpend: false })
          yield* notSent("a")
          yield* authorize(charge("b", 20n, at(20n)))
          assert.strictEqual((yield* purchase("p")).approvedUsd, 20n)
          yield* judge("b", "released", "proven")
          yield* unavailable(authorize(charge("c", 20n, at(5n))))
          yield* authorize(charge("c", 5n, at(5n)))
          assert.strictEqual((yield* purchase("p")).approvedUsd, 5n)
        })
      )

      test(
        "takes both prices where the program accepts a double spend, and marks the purchase",
        Effect.gen(function*() {
          const twice = { purchase: purchaseOf("p", { approvedUsd: 30n, doubleSpend: true }) }
          yield* authorize(charge("a", 10n, { purchase: purchaseOf("p", { approvedUsd: 10n }) }))
          yield* judge("a", "unknown", "claimed")
          yield* unavailable(authorize(charge("b", 21n, twice)))
          assert.deepInclude(yield* purchase("p"), { approvedUsd: 10n, doubleSpend: false })
          yield* authorize(charge("b", 20n, twice))
          assert.deepInclude(yield* purchase("p"), { approvedUsd: 30n, doubleSpend: true })
          yield* unavailable(authorize(charge("c", 1n, twice)))
          yield* judge("b", "released", "proven")
          yield* authorize(charge("c", 20n, twice))
          yield* judge("a", "released", "proven")
          yield* judge("c", "released", "proven")
          yield* authorize(charge("d", 10n, { purchase: purchaseOf("p", { approvedUsd: 10n }) }))
          assert.deepInclude(yield* purchase("p"), { approvedUsd: 10n, doubleSpend: true })
        })
      )

      test(
        "goes on with a purchase only for its owner, and only while it has not ended",
        Effect.gen(function*() {
          yield* authorize(charge("a", 10n))
          yield* notSent("a")
          yield* unavailable(authorize(charge("b", 10n, { purchase: purchaseOf("p-a", { owner: "another" }) })))
          yield* deliver("p-a", "undelivered")
          yield* authorize(charge("c", 10n, { purchase: purchaseOf("p-a") }))
          assert.strictEqual((yield* purchase("p-a")).delivery, "open")
          yield* deliver("p-a", "abandoned")
          yield* unavailable(authorize(charge("d", 10n, { purchase: purchaseOf("p-a") })))
        })
      )
    })

    describe("judged", () => {
      test(
        "moves what was settled from exposed to spent",
        Effect.gen(function*() {
          yield* inState("a", "settled", "claimed")
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          assert.deepInclude(yield* authorization("a"), { state: "settled", spentUsd: 100n, exposedUsd: 0n })
        })
      )

      test(
        "returns the rest of a hold when less was spent, if that is proven",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* judge("a", "settled", "claimed", 30n)
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* judge("a", "settled", "proven", 30n)
          assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 0n })
          yield* judge("a", "settled", "claimed", 100n)
          assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 0n })
        })
      )

      test(
        "counts what was taken beyond the hold, if a chain says so, and not on a merchant's word",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* judge("a", "settled", "claimed", 1_000_000n)
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* judge("a", "settled", "observed", 150n)
          assert.deepStrictEqual(yield* money(), { spent: 150n, exposed: 0n })
        })
      )

      for (const state of ["unknown", "rejected"] as const) {
        test(
          `keeps the hold of an authorisation that is ${state}`,
          Effect.gen(function*() {
            yield* inState("a", state, "claimed")
            yield* minutes(24 * 60)
            assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
            assert.strictEqual((yield* authorization("a")).state, state)
          })
        )
      }

      test(
        "counts all of what is presumed as spent, and corrects it by later evidence",
        Effect.gen(function*() {
          yield* inState("a", "presumed", "presumed")
          yield* inState("b", "presumed", "presumed")
          assert.deepStrictEqual(yield* money(), { spent: 200n, exposed: 0n })
          yield* judge("a", "released", "proven")
          yield* judge("b", "settled", "proven", 40n)
          assert.deepStrictEqual(yield* money(), { spent: 40n, exposed: 0n })
        })
      )

      for (const state of ["signed", "unknown", "rejected", "presumed"] as const) {
        for (const rank of ["presumed", "claimed", "observed"] as const) {
          test(
            `never releases what is ${state} on evidence that is ${rank}`,
            Effect.gen(function*() {
              yield* inState("a", state, "claimed")
              const before = yield* money()
              yield* unavailable(judge("a", "released", rank))
              assert.deepStrictEqual(yield* money(), before)
              assert.strictEqual((yield* authorization("a")).state, state)
            })
          )
        }
        for (const rank of ["attested", "proven"] as const) {
          test(
            `releases what is ${state} on evidence that is ${rank}`,
            Effect.gen(function*() {
              yield* inState("a", state, "claimed")
              yield* judge("a", "released", rank)
              assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
            })
          )
        }
      }

      test(
        "believes an owner who says that nothing was sent, unless it may have been sent before",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* notSent("a")
          assert.strictEqual((yield* authorization("a")).state, "released")
          yield* inState("b", "unknown", "claimed")
          yield* unavailable(notSent("b"))
          yield* resend("b")
          yield* unavailable(notSent("b"))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
        })
      )

      test(
        "exposes what was settled again when its block is gone, and only then",
        Effect.gen(function*() {
          yield* inState("a", "settled", "observed")
          yield* judge("a", "unknown", "claimed")
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* judge("a", "unknown", "observed")
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          yield* judge("a", "settled", "proven")
          yield* judge("a", "unknown", "observed")
          yield* judge("a", "unknown", "proven")
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
        })
      )

      for (
        const [from, to] of [
          ["settled", "released"],
          ["settled", "presumed"],
          ["released", "settled"],
          ["released", "presumed"],
          ["signed", "presumed"]
        ] as const
      ) {
        test(
          `never makes what is ${from} ${to}`,
          Effect.gen(function*() {
            yield* inState("a", from, "proven")
            const before = yield* authorization("a")
            yield* unavailable(judge("a", to, "proven"))
            assert.deepStrictEqual(yield* authorization("a"), before)
          })
        )
      }

      for (const from of ["settled", "released", "presumed", "rejected"] as const) {
        test(
          `learns nothing from an answer of unknown meaning to what is ${from}`,
          Effect.gen(function*() {
            yield* inState("a", from, "attested")
            const before = yield* authorization("a")
            yield* judge("a", "unknown", "presumed")
            assert.deepStrictEqual(yield* authorization("a"), before)
          })
        )
      }

      test(
        "takes only what is unknown or rejected for sent again",
        Effect.gen(function*() {
          yield* inState("a", "rejected", "claimed")
          yield* resend("a")
          assert.strictEqual((yield* authorization("a")).state, "signed")
          yield* unavailable(resend("a"))
          yield* inState("b", "settled", "claimed")
          yield* unavailable(resend("b"))
          yield* unavailable(resend("nothing"))
        })
      )

      test(
        "keeps the evidence, the latest last",
        Effect.gen(function*() {
          yield* inState("a", "unknown", "presumed")
          yield* judge("a", "settled", "proven")
          assert.deepStrictEqual((yield* authorization("a")).evidence.map(({ rank }) => rank), ["presumed", "proven"])
        })
      )

      test(
        "keeps no more evidence than can matter, however often it is asked",
        Effect.gen(function*() {
          yield* authorize(charge("a", 10n))
          for (let at = 0; at < 100; at++) {
            yield* judge("a", "unknown", "claimed")
            yield* resend("a")
          }
          assert.isTrue((yield* authorization("a")).evidence.length <= 16)
        })
      )
    })

    describe("sessions", () => {
      test(
        "hold their limit once; draws move it from exposed to spent",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 30n))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          yield* judge("a", "settled", "claimed", 30n)
          assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 70n })
          assert.deepInclude(yield* session("s"), { spentUsd: 30n, reservedUsd: 0n })
          assert.deepInclude(yield* authorization("open-s"), { state: "signed", spentUsd: 30n, exposedUsd: 70n })
        })
      )

      for (const state of ["unknown", "rejected"] as const) {
        test(
          `keep a draw reserved that is ${state}, and free it when it is released`,
          Effect.gen(function*() {
            yield* live("s", 100n)
            yield* authorize(drawing("a", "s", 60n))
            yield* judge("a", state, "claimed")
            yield* Effect.flip(authorize(drawing("b", "s", 60n)))
            yield* judge("a", "released", "attested")
            yield* authorize(drawing("b", "s", 60n))
            assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          })
        )
      }

      test(
        "count what a receipt says that was drawn, and no more than was asked for",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 30n))
          yield* authorize(drawing("b", "s", 30n))
          yield* judge("a", "settled", "claimed", 10n)
          assert.deepInclude(yield* session("s"), { spentUsd: 10n, reservedUsd: 30n })
          yield* judge("b", "settled", "claimed", 1_000n)
          assert.deepInclude(yield* session("s"), { spentUsd: 40n, reservedUsd: 0n })
          assert.deepStrictEqual(yield* money(), { spent: 40n, exposed: 60n })
        })
      )

      test(
        "move a draw back when its block is gone",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 30n))
          yield* judge("a", "settled", "observed")
          yield* judge("a", "unknown", "observed")
          assert.deepInclude(yield* session("s"), { spentUsd: 0n, reservedUsd: 30n })
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          yield* close("s", 0n)
          assert.strictEqual((yield* authorization("a")).state, "released")
        })
      )

      test(
        "return what their final figure leaves, and are not drawn on again",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 30n))
          yield* judge("a", "settled", "claimed")
          yield* close("s", 25n)
          assert.deepStrictEqual(yield* money(), { spent: 25n, exposed: 0n })
          assert.deepInclude(yield* session("s"), { state: "closed", spentUsd: 25n, reservedUsd: 0n })
          assert.deepInclude(yield* authorization("open-s"), { state: "settled", spentUsd: 25n, exposedUsd: 0n })
          assert.deepInclude(yield* authorization("a"), { state: "settled", spentUsd: 30n })
          yield* unavailable(authorize(drawing("b", "s", 1n)))
        })
      )

      test(
        "count an overspend above the hold, since the money moved",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* close("s", 130n)
          assert.deepStrictEqual(yield* money(), { spent: 130n, exposed: 0n })
        })
      )

      test(
        "need proof to be closed",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* unavailable(close("s", 0n, "closed", "claimed"))
          yield* unavailable(update("s", { state: "closed" }))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
        })
      )

      test(
        "are closed without a figure at no less than what may have been drawn, and corrected by one",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 30n))
          yield* authorize(drawing("b", "s", 20n))
          yield* judge("a", "settled", "claimed")
          yield* judge("b", "unknown", "claimed")
          yield* close("s", 0n, "presumed", "presumed")
          assert.deepStrictEqual(yield* money(), { spent: 50n, exposed: 0n })
          assert.strictEqual((yield* authorization("b")).state, "presumed")
          yield* close("s", 30n)
          assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 0n })
          yield* close("s", 100n, "presumed", "presumed")
          assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 0n })
        })
      )

      test(
        "resolve their open draws by the final figure: none of them, the only one, or all of them was taken",
        Effect.gen(function*() {
          const closing = Effect.fnUntraced(function*(id: string, draws: number, figure: bigint) {
            yield* live(id, 100n)
            for (let at = 0; at < draws; at++) {
              yield* authorize(drawing(`${id}${at}`, id, 20n))
              yield* judge(`${id}${at}`, "unknown", "claimed")
            }
            yield* close(id, figure)
            const states: Array<string> = []
            for (let at = 0; at < draws; at++) states.push((yield* authorization(`${id}${at}`)).state)
            return states
          })
          assert.deepStrictEqual(yield* closing("none", 2, 0n), ["released", "released"])
          assert.deepStrictEqual(yield* closing("one", 1, 12n), ["settled"])
          assert.strictEqual((yield* authorization("one0")).spentUsd, 12n)
          assert.deepStrictEqual(yield* closing("all", 2, 40n), ["settled", "settled"])
          // one of two: neither may be called void, or it would be paid for again
          assert.deepStrictEqual(yield* closing("some", 2, 20n), ["presumed", "presumed"])
          assert.deepStrictEqual(yield* money(), { spent: 72n, exposed: 0n })
        })
      )

      test(
        "move no money for a draw that is judged after they were closed",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 20n))
          yield* authorize(drawing("b", "s", 20n))
          yield* close("s", 20n)
          yield* judge("a", "settled", "proven", 5n)
          assert.deepInclude(yield* authorization("a"), { state: "settled", spentUsd: 5n })
          yield* judge("b", "settled", "observed")
          yield* judge("b", "unknown", "proven")
          assert.strictEqual((yield* authorization("b")).state, "settled")
          assert.deepInclude(yield* session("s"), { spentUsd: 20n, reservedUsd: 0n })
          assert.deepStrictEqual(yield* money(), { spent: 20n, exposed: 0n })
        })
      )

      test(
        "end with the authorisation that holds their limit, if it is proven void",
        Effect.gen(function*() {
          yield* authorize(opening("s", 100n))
          yield* judge("open-s", "released", "attested")
          assert.strictEqual((yield* session("s")).state, "closed")
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
          yield* update("s", { state: "closed" })
          yield* unavailable(update("s", { state: "live" }))
          yield* close("s", 0n)
          yield* unavailable(close("s", 1n))
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
        })
      )

      test(
        "keep their hold when nobody knows whether they were opened",
        Effect.gen(function*() {
          yield* authorize(opening("s", 100n))
          yield* judge("open-s", "unknown", "presumed")
          yield* update("s", { state: "closing" })
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          yield* judge("open-s", "settled", "attested", 10n)
          assert.deepInclude(yield* session("s"), { state: "closed", spentUsd: 10n })
          assert.deepStrictEqual(yield* money(), { spent: 10n, exposed: 0n })
        })
      )

      test(
        "hold what was granted beyond what was asked for",
        Effect.gen(function*() {
          yield* authorize(opening("s", 100n))
          yield* update("s", { state: "suspect", limitUsd: 150n })
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 150n })
          yield* close("s", 0n)
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
        })
      )

      test(
        "never come back to life",
        Effect.gen(function*() {
          for (const state of ["expired", "suspect", "closing"] as const) {
            yield* live(state, 10n)
            yield* update(state, { state })
            yield* unavailable(update(state, { state: "live" }))
          }
          yield* live("closed", 10n)
          yield* close("closed", 0n)
          yield* unavailable(update("closed", { state: "live" }))
          yield* update("closed", { state: "closing" })
          assert.strictEqual((yield* session("closed")).state, "closed")
        })
      )
    })

    describe("sessions that are asked for", () => {
      test(
        "come newest first and page by page",
        Effect.gen(function*() {
          const ledger = yield* Ledger.Ledger
          for (const id of ["a", "b", "c"]) yield* live(id, 100n)
          yield* close("b", 10n)
          const ids = (query: Parameters<typeof ledger.sessions>[0]) =>
            Effect.map(ledger.sessions(query), (found) => found.map((one) => one.id))
          assert.deepStrictEqual(yield* ids({}), ["c", "b", "a"])
          assert.deepStrictEqual(yield* ids({ limit: 2 }), ["c", "b"])
          assert.deepStrictEqual(yield* ids({ limit: 2, after: "b" }), ["a"])
          assert.deepStrictEqual(yield* ids({ after: "nothing" }), [])
          assert.deepStrictEqual(yield* ids({ state: ["live"], origin }), ["c", "a"])
          assert.deepStrictEqual(yield* ids({ origin: "https://other.test" }), [])
        })
      )
    })

    describe("windows", () => {
      test(
        "count spending until all of it has left, and a bucket longer at most",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* judge("a", "settled", "claimed")
          yield* minutes(59)
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* TestClock.adjust("59 seconds")
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* TestClock.adjust("62 seconds")
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
          assert.deepStrictEqual(yield* money(24 * hour), { spent: 100n, exposed: 0n })
        })
      )

      test(
        "count a deposit that is older than they are, as long as it can be spent",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* minutes(61)
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
          yield* Effect.flip(authorize(charge("a", 1n, { limits: [agentLimit(100n)] })))
          yield* authorize(drawing("d", "s", 40n))
          yield* judge("d", "settled", "claimed")
          assert.deepStrictEqual(yield* money(), { spent: 40n, exposed: 60n })
        })
      )

      test(
        "get spending when it becomes spent, not when it was authorised",
        Effect.gen(function*() {
          yield* inState("a", "unknown", "claimed")
          yield* minutes(50)
          yield* judge("a", "settled", "proven")
          yield* minutes(50)
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
        })
      )

      test(
        "get no more room from returned money than it took",
        Effect.gen(function*() {
          yield* inState("old", "presumed", "presumed")
          yield* minutes(50)
          yield* inState("new", "presumed", "presumed")
          yield* minutes(20)
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          yield* judge("old", "released", "proven")
          assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
          assert.deepStrictEqual(yield* money(24 * hour), { spent: 100n, exposed: 0n })
          yield* judge("new", "released", "proven")
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
        })
      )

      test(
        "lower the very draw that is taken back, and the oldest when a final figure does not say which",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("old", "s", 20n))
          yield* judge("old", "settled", "observed")
          yield* minutes(50)
          yield* authorize(drawing("new", "s", 30n))
          yield* judge("new", "settled", "observed")
          yield* minutes(20)
          assert.strictEqual((yield* standing()).spent, 30n)
          yield* close("s", 45n)
          assert.strictEqual((yield* standing()).spent, 30n)

          yield* live("t", 100n)
          yield* authorize(drawing("first", "t", 20n))
          yield* judge("first", "settled", "observed")
          yield* minutes(70)
          yield* authorize(drawing("second", "t", 30n))
          yield* judge("second", "settled", "observed")
          yield* judge("second", "unknown", "observed")
          assert.strictEqual((yield* standing()).spent, 0n)
          assert.strictEqual((yield* standing(24 * hour)).spent, 65n)
        })
      )

      test(
        "forget a draw that was taken back, so that a final figure lowers what is left",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("old", "s", 20n))
          yield* judge("old", "settled", "observed")
          yield* judge("old", "unknown", "observed")
          yield* minutes(70)
          yield* authorize(drawing("new", "s", 30n))
          yield* judge("new", "settled", "observed")
          yield* close("s", 10n)
          assert.strictEqual((yield* standing()).spent, 10n)
          assert.strictEqual((yield* standing(24 * hour)).spent, 10n)
        })
      )

      test(
        "hold spending whatever the clock does",
        Effect.gen(function*() {
          yield* TestClock.setTime(5 * hour)
          yield* authorize(charge("a", 100n))
          yield* judge("a", "settled", "claimed")
          yield* TestClock.setTime(hour)
          yield* authorize(charge("b", 50n))
          yield* judge("b", "settled", "claimed")
          assert.deepStrictEqual(yield* money(), { spent: 150n, exposed: 0n })
          assert.strictEqual((yield* authorization("b")).updatedAt, 5 * hour)
          yield* TestClock.setTime(5 * hour + 30 * 60_000)
          assert.deepStrictEqual(yield* money(), { spent: 150n, exposed: 0n })
        })
      )

      for (const windowMillis of [5 * 60_000, hour, 8 * hour, 24 * hour, 24 * 30 * hour]) {
        test(
          `of ${windowMillis / 60_000} minutes are exact to a sixtieth`,
          Effect.gen(function*() {
            const bucket = windowMillis / 60
            for (let at = 0; at < 90; at++) {
              yield* authorize(charge(`a${at}`, 1n))
              yield* judge(`a${at}`, "settled", "claimed")
              yield* TestClock.adjust(bucket)
            }
            const { spent } = yield* standing(windowMillis)
            assert.isTrue(spent >= 60n && spent <= 61n, `${spent} of 60`)
          })
        )
      }
    })

    describe("purchases", () => {
      test(
        "are claimed by one of many, together with what was signed last",
        Effect.gen(function*() {
          yield* authorize(charge("a", 100n))
          yield* judge("a", "unknown", "claimed")
          assert.isTrue(Option.isNone(yield* claim("key of p-a", "early")))
          yield* deliver("p-a", "undelivered")
          const claims = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, at) => `owner ${at}`),
            (owner) => Effect.andThen(Effect.yieldNow, claim("key of p-a", owner)),
            { concurrency: "unbounded" }
          )
          const won = claims.flatMap(Option.toArray)
          assert.strictEqual(won.length, 1)
          assert.strictEqual(won[0]?.authorization.id, "a")
          assert.deepInclude(won[0]?.purchase, { delivery: "open", resumes: 1 })
          assert.include(won[0]?.purchase.owner, "owner ")
          assert.deepStrictEqual(yield* purchase("p-a"), won[0]?.purchase)
        })
      )

      test(
        "are claimed newest first",
        Effect.gen(function*() {
          for (const id of ["a", "b"]) {
            yield* authorize(charge(id, 10n, { purchase: purchaseOf(`p-${id}`, { key: "same" }) }))
            yield* judge(id, "settled", "claimed")
            yield* deliver(`p-${id}`, "broken")
          }
          const claimed: Array<string | undefined> = []
          for (const owner of ["x", "y", "z"]) {
            claimed.push(Option.getOrUndefined(yield* claim("same", owner))?.purchase.id)
          }
          assert.deepStrictEqual(claimed, ["p-b", "p-a", undefined])
        })
      )

      test(
        "that are claimed while something is signed leave its outcome unknown",
        Effect.gen(function*() {
          yield* authorize(charge("a", 10n))
          yield* deliver("p-a", "undelivered")
          const claimed = Option.getOrThrow(yield* claim("key of p-a", "x"))
          assert.strictEqual(claimed.authorization.state, "unknown")
          yield* resend("a")
          yield* unavailable(notSent("a"))
        })
      )

      test(
        "are not claimed once they are delivered, abandoned or void",
        Effect.gen(function*() {
          for (const [id, ...path] of [["a", "delivering", "delivered"], ["b", "undelivered", "abandoned"]] as const) {
            yield* authorize(charge(id, 10n))
            yield* judge(id, "settled", "claimed")
            for (const delivery of path) yield* deliver(`p-${id}`, delivery)
          }
          yield* authorize(charge("c", 10n))
          yield* judge("c", "released", "proven")
          yield* deliver("p-c", "void")
          for (const id of ["a", "b", "c"]) assert.isTrue(Option.isNone(yield* claim(`key of p-${id}`, "x")))
        })
      )

      test(
        "come to nothing only if nothing can be taken for them",
        Effect.gen(function*() {
          yield* authorize(charge("a", 10n))
          yield* judge("a", "rejected", "claimed")
          yield* unavailable(deliver("p-a", "void"))
          yield* judge("a", "released", "proven")
          yield* deliver("p-a", "void")
        })
      )

      for (
        const [from, to] of [
          ["delivered", "undelivered"],
          ["delivered", "broken"],
          ["delivering", "undelivered"],
          ["abandoned", "delivered"],
          ["undelivered", "delivered"],
          ["undelivered", "open"],
          ["broken", "delivering"]
        ] as const
      ) {
        test(
          `that are ${from} never become ${to}`,
          Effect.gen(function*() {
            yield* authorize(charge("a", 10n))
            yield* judge("a", "settled", "claimed")
            yield* deliver("p-a", from)
            yield* deliver("p-a", from)
            yield* unavailable(deliver("p-a", to))
            assert.strictEqual((yield* purchase("p-a")).delivery, from)
          })
        )
      }

      test(
        "are listed newest first and page by page, by all that is asked of them",
        Effect.gen(function*() {
          const ledger = yield* Ledger.Ledger
          for (const id of ["a", "b", "c", "d", "e"]) yield* authorize(charge(id, 10n))
          yield* judge("b", "settled", "claimed")
          yield* judge("d", "settled", "claimed")
          yield* deliver("p-d", "delivered")
          const ids = (query: Parameters<typeof ledger.purchases>[0]) =>
            Effect.map(ledger.purchases(query), (found) => found.map((one) => one.purchase.id))
          assert.deepStrictEqual(yield* ids({}), ["p-e", "p-d", "p-c", "p-b", "p-a"])
          assert.deepStrictEqual(yield* ids({ limit: 2 }), ["p-e", "p-d"])
          assert.deepStrictEqual(yield* ids({ limit: 2, after: "p-d" }), ["p-c", "p-b"])
          assert.deepStrictEqual(yield* ids({ limit: 2, after: "p-b" }), ["p-a"])
          assert.deepStrictEqual(yield* ids({ after: "p-a" }), [])
          assert.deepStrictEqual(yield* ids({ after: "nothing" }), [])
          assert.deepStrictEqual(yield* ids({ state: ["settled"] }), ["p-d", "p-b"])
          assert.deepStrictEqual(yield* ids({ state: ["settled"], delivery: ["open"] }), ["p-b"])
          assert.deepStrictEqual(yield* ids({ state: ["settled"], after: "p-d", limit: 1 }), ["p-b"])
          assert.deepStrictEqual(yield* ids({ rail: "test", origin, agent: "a", id: "p-c" }), ["p-c"])
          assert.deepStrictEqual(yield* ids({ rail: "other" }), [])
          assert.deepStrictEqual(yield* ids({ since: 1 }), [])
          assert.strictEqual((yield* ids({ since: 0, until: 1, mine: true })).length, 5)
        })
      )

      test(
        "that do not exist are no silent success",
        Effect.gen(function*() {
          yield* unavailable(deliver("nothing", "delivered"))
          yield* unavailable(judge("nothing", "settled", "claimed"))
          yield* unavailable(update("nothing", { state: "closing" }))
          yield* unavailable(close("nothing", 0n))
        })
      )
    })

    describe("what is left open", () => {
      test(
        "is what nobody works on",
        Effect.gen(function*() {
          yield* authorize(charge("working", 1n))
          yield* judge("working", "unknown", "claimed")
          yield* authorize(charge("left", 1n))
          yield* judge("left", "rejected", "claimed")
          yield* deliver("p-left", "undelivered")
          yield* authorize(charge("delivered", 1n))
          yield* judge("delivered", "unknown", "claimed")
          yield* deliver("p-delivered", "delivered")
          yield* inState("done", "settled", "claimed")
          yield* live("alive", 1n)
          yield* live("closing", 1n)
          yield* update("closing", { state: "closing" })
          yield* authorize(opening("lost", 1n))
          yield* judge("open-lost", "unknown", "claimed")
          assert.deepStrictEqual(yield* unsettled, ["delivered", "left", "open-closing", "open-lost"])
        })
      )

      test(
        "is a minute later also what could be spent until now, whoever works on it",
        Effect.gen(function*() {
          yield* authorize(charge("hanging", 1n, { spendableUntil: hour }))
          yield* authorize(charge("timeless", 1n))
          yield* live("expired", 1n)
          yield* authorize(opening("establishing", 1n))
          yield* authorize(drawing("draw", "expired", 1n))
          yield* authorize(charge("later", 1n, { spendableUntil: hour + 1 }))
          yield* update("expired", { expiresAt: hour })
          yield* TestClock.setTime(hour + 59_999)
          assert.deepStrictEqual(yield* unsettled, [])
          yield* TestClock.setTime(hour + 60_000)
          assert.deepStrictEqual(yield* unsettled, ["hanging", "open-establishing", "open-expired"])
          assert.deepStrictEqual((yield* authorization("hanging")).state, "signed")
          assert.deepInclude(yield* money(), { exposed: 5n })
        })
      )
    })

    describe("conduct", () => {
      test(
        "is remembered for as long again as it took",
        Effect.gen(function*() {
          const refusedAt = Effect.fnUntraced(function*(id: string, minute: number) {
            yield* TestClock.setTime(minute * 60_000)
            yield* authorize(charge(id, 10n))
            yield* judge(id, "rejected", "claimed")
          })
          const refused = Effect.map(conduct(10 * 60_000), (figures) => figures.refused)
          yield* refusedAt("a", 0)
          yield* refusedAt("b", 9)
          yield* TestClock.setTime(18 * 60_000)
          assert.strictEqual(yield* refused, 2)
          yield* TestClock.setTime(20 * 60_000)
          assert.strictEqual(yield* refused, 0)
          yield* refusedAt("c", 30)
          yield* refusedAt("d", 42)
          assert.strictEqual(yield* refused, 1)
        })
      )

      test(
        "counts what was abandoned, and what hangs",
        Effect.gen(function*() {
          yield* authorize(charge("a", 10n))
          yield* judge("a", "settled", "claimed")
          yield* deliver("p-a", "undelivered")
          yield* deliver("p-a", "abandoned")
          yield* deliver("p-a", "abandoned")
          yield* inState("b", "unknown", "claimed")
          yield* inState("c", "rejected", "claimed")
          assert.deepStrictEqual(yield* conduct(hour), { abandoned: 1, refused: 1, hangingUsd: 200n })
          yield* judge("b", "released", "proven")
          yield* judge("c", "settled", "proven")
          assert.deepInclude(yield* conduct(hour), { hangingUsd: 0n })
        })
      )

      test(
        "is not held against a merchant whose session's endpoint does not answer",
        Effect.gen(function*() {
          yield* authorize(opening("s", 100n))
          yield* judge("open-s", "unknown", "presumed")
          yield* update("s", { state: "closing" })
          assert.deepStrictEqual(yield* conduct(hour), { abandoned: 0, refused: 0, hangingUsd: 0n })
          assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
        })
      )

      test(
        "is not held against an origin that refuses a draw, which holds nothing",
        Effect.gen(function*() {
          yield* live("s", 100n)
          yield* authorize(drawing("a", "s", 10n))
          yield* judge("a", "rejected", "claimed")
          assert.deepStrictEqual(yield* conduct(hour), { abandoned: 0, refused: 0, hangingUsd: 0n })
        })
      )
    })

    properties(layer, options.runs)
  })
}
