import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AgentTest from "../../src/testing/AgentTest.ts"
import { authorize, charge, deliver, judge } from "../ledger.ts"
import { json, mpp, same } from "./harness.ts"

const origin = "https://merchant.test"

const merchant: ReadonlyArray<AgentTest.Route> = [
  { path: "/sold", method: "POST", price: "0.01", answer: {} },
  { path: "/refused", method: "POST", price: "0.02", answer: {}, faults: ["refuse"] }
]

const agents = same(AgentTest.layer({ merchant }))

const unlucky = Effect.fnUntraced(function*(...paths: ReadonlyArray<string>) {
  const live = yield* agents
  for (const path of paths) yield* mpp(live, ["fetch", origin + path, "-d", "x"])
  return live
})

const expire = Effect.flatMap(AgentTest.Merchant, ({ expireAuthorizations }) => expireAuthorizations)

describe("mpp reconcile", () => {
  it.effect("says that nothing is open, and is done", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["reconcile"])
      assert.deepStrictEqual([ran.status, ran.stdout, ran.stderr], [0, "Nothing is open.\n", ""])
    }))

  it.effect("tells what became of what, and exits with 5 while something is open", () =>
    Effect.gen(function*() {
      const live = yield* unlucky("/sold", "/refused")
      const ran = yield* mpp(live, ["reconcile"])
      assert.strictEqual(ran.status, 5)
      const [titles, row, ...rest] = ran.stdout.trimEnd().split("\n")
      assert.match(titles!, /^PAYMENT +MERCHANT +RAIL +WAS +IS +SPENT +HELD +EVIDENCE$/)
      assert.match(
        row!.replaceAll(/ {2,}/g, "  "),
        /^pay_\S+  https:\/\/merchant\.test  test\/exact  settled  settled  \$0\.01  \$0\.00  proven taken$/
      )
      assert.deepStrictEqual(rest, [
        "",
        "1 still open, with $0.02 held: 0 settled, 0 void, 0 presumed spent. Ask again later."
      ])
      assert.match(ran.stderr, /^mpp: pay_\S+ over test\/exact: still rejected\n$/)
    }))

  it.effect("is done when the last is proven void, and says so in one document", () =>
    Effect.gen(function*() {
      const live = yield* unlucky("/refused")
      const open = yield* mpp(live, ["reconcile", "--json"])
      assert.strictEqual(open.status, 5)
      assert.deepInclude(json(open), { changed: [], heldUsd: "0.02" })
      assert.deepInclude(json(open).open[0], { state: "rejected", heldUsd: "0.02" })
      yield* Effect.provide(expire, live())
      const ran = yield* mpp(live, ["reconcile", "--json"])
      const { changed, heldUsd, open: left } = json(ran)
      assert.deepStrictEqual([ran.status, heldUsd, left], [0, "0.00", []])
      assert.deepInclude(changed[0], { before: "rejected", state: "released", heldUsd: "0.00", spentUsd: "0.00" })
      assert.deepInclude(changed[0].evidence.at(-1), { rank: "proven" })
    }))

  it.effect("names what nobody here can be asked about", () =>
    Effect.gen(function*() {
      const live = yield* agents
      yield* Effect.gen(function*() {
        yield* authorize(charge("a", 10n))
        yield* judge("a", "unknown", "claimed")
        yield* deliver("p-a", "undelivered")
      }).pipe(Effect.provide(live()))
      const ran = yield* mpp(live, ["reconcile"])
      assert.strictEqual(ran.status, 5)
      assert.include(ran.stderr, "mpp: test cannot be asked: set up here what it was paid with")
    }))

  it.effect("goes on until it is interrupted, tells each change once, and how it was in the end", () =>
    Effect.gen(function*() {
      const live = yield* unlucky("/refused")
      const pass = Effect.gen(function*() {
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 30)))
        yield* TestClock.adjust("30 seconds")
      })
      const open = yield* mpp(live, ["reconcile", "--watch"], [], Effect.andThen(pass, pass))
      assert.deepStrictEqual([open.status, open.stdout], [5, "1970-01-01 00:00:00 1 open, $0.02 held\n"])
      const meanwhile = pass.pipe(
        Effect.andThen(Effect.provide(expire, live())),
        Effect.andThen(pass),
        Effect.andThen(pass),
        Effect.andThen(pass)
      )
      const ended = yield* mpp(live, ["reconcile", "--watch"], [], meanwhile)
      assert.strictEqual(ended.status, 0)
      const [before, change, after, ...rest] = ended.stdout.trimEnd().split("\n")
      assert.match(before!, /1 open, \$0\.02 held$/)
      assert.match(
        change!,
        /pay_\S+ https:\/\/merchant\.test test\/exact: rejected, now released; \$0\.00 spent, \$0\.00 held \(proven\)$/
      )
      assert.match(after!, /nothing is open$/)
      assert.deepStrictEqual(rest, [])
    }))

  it.effect("has no one document where it goes on for ever", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["reconcile", "--watch", "--json"])
      assert.deepStrictEqual([ran.status, json(ran).error._tag], [2, "Usage"])
    }))
})
