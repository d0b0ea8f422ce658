import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Ledger from "../../src/Ledger.ts"
import * as AgentTest from "../../src/testing/AgentTest.ts"
import { authorize, charge, deliver, foreign, judge, purchaseOf } from "../ledger.ts"
import { json, mpp, same } from "./harness.ts"

const origin = "https://merchant.test"

const merchant: ReadonlyArray<AgentTest.Route> = [
  { path: "/a", price: "0.01", answer: { paid: true } },
  { path: "/b", price: "0.02", answer: { paid: true } },
  { path: "/refuse", price: "0.01", answer: {}, faults: ["refuse"] },
  { path: "/cut", method: "POST", price: "0.03", answer: {}, faults: ["cut"] }
]

/** An agent that bought `/a` and `/b`, an hour apart, and lost the answer of `/cut` after another. */
const customer = Effect.gen(function*() {
  const live = yield* same(AgentTest.layer({ merchant }))
  yield* mpp(live, ["fetch", `${origin}/a`])
  yield* TestClock.adjust("1 hour")
  yield* mpp(live, ["fetch", `${origin}/b`])
  yield* TestClock.adjust("1 hour")
  yield* mpp(live, ["fetch", `${origin}/cut`, "-d", "x"])
  return live
})

const strangers = same(AgentTest.layer({ merchant }))

const paths = (ran: Parameters<typeof json>[0]) => json(ran).payments.map((one: { readonly path: string }) => one.path)

describe("mpp payments", () => {
  it.effect("says in a sentence that nothing was paid yet", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* strangers, ["payments"])
      assert.deepStrictEqual([ran.status, ran.stderr], [0, ""])
      assert.match(ran.stdout, /^Nothing was paid yet\. [^\n]+\n$/)
      const narrow = yield* mpp(yield* customer, ["payments", "--agent", "nobody"])
      assert.strictEqual(narrow.stdout, "No payment in this ledger is like that.\n")
    }))

  it.effect("lists the newest first, with what was spent and what is held", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* customer, ["payments"])
      assert.strictEqual(ran.status, 0)
      const [titles, ...rows] = ran.stdout.trimEnd().split("\n")
      assert.match(titles!, /^BEGUN \(UTC\) +PAYMENT +FOR +RAIL +SPENT +HELD +STATE +DELIVERY$/)
      assert.deepStrictEqual(
        rows.map((row) => row.replace(/pay_\S+/, "ID").replaceAll(/ {2,}/g, "  ")),
        [
          `1970-01-01 02:00:00  ID  POST ${origin}/cut  test/exact  $0.00  $0.03  unknown  undelivered`,
          `1970-01-01 01:00:00  ID  GET ${origin}/b  test/exact  $0.02  $0.00  settled  delivered`,
          `1970-01-01 00:00:00  ID  GET ${origin}/a  test/exact  $0.01  $0.00  settled  delivered`
        ]
      )
    }))

  it.effect("is one document with --json, whose pages follow each other", () =>
    Effect.gen(function*() {
      const live = yield* customer
      const first = json(yield* mpp(live, ["payments", "--json", "--limit", "2"]))
      assert.deepStrictEqual(first.payments.map((one: { path: string }) => one.path), ["/cut", "/b"])
      const { id, payee, ...second } = first.payments[1]
      assert.deepStrictEqual(second, {
        createdAt: "1970-01-01T01:00:00.000Z",
        agent: "default",
        origin,
        method: "GET",
        path: "/b",
        rail: "test/exact",
        network: "eip155:1337",
        asset: "TEST",
        amount: "0.02",
        units: "20000",
        approvedUsd: "0.02",
        spentUsd: "0.02",
        heldUsd: "0.00",
        state: "settled",
        delivery: "delivered",
        resumes: 0,
        reference: null
      })
      assert.match(payee, /^0x/)
      assert.strictEqual(first.next, id)
      const last = json(yield* mpp(live, ["payments", "--json", "--limit", "2", "--after", first.next]))
      assert.deepStrictEqual([last.payments.length, last.payments[0].path, last.next], [1, "/a", null])
      const told = yield* mpp(live, ["payments", "--limit", "2"])
      assert.strictEqual(told.stderr, `mpp: there are older ones: --after ${id}\n`)
    }))

  const filters: ReadonlyArray<readonly [flags: ReadonlyArray<string>, paths: ReadonlyArray<string>]> = [
    [["--state", "settled"], ["/b", "/a"]],
    [["--state", "settled", "--state", "unknown"], ["/cut", "/b", "/a"]],
    [["--delivery", "undelivered"], ["/cut"]],
    [["--since", "90m"], ["/cut", "/b"]],
    [["--until", "90m"], ["/a"]],
    [["--since", "1970-01-01T00:30Z", "--until", "1970-01-01 02:00"], ["/b"]],
    [["--origin", `${origin}/somewhere`], ["/cut", "/b", "/a"]],
    [["--origin", "https://other.test"], []],
    [["--rail", "test/exact", "--limit", "1"], ["/cut"]],
    [["--rail", "x402/exact"], []],
    [["--agent", "default"], ["/cut", "/b", "/a"]]
  ]
  for (const [flags, expected] of filters) {
    it.effect(`lists only what is asked for: ${flags.join(" ")}`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(paths(yield* mpp(yield* customer, ["payments", "--json", ...flags])), expected)
      }))
  }

  for (
    const flags of [
      ["--state", "lost"],
      ["--since", "yesterday"],
      ["--since", "2026-13-01"],
      ["--limit", "0"],
      ["--origin", "merchant.test"],
      ["--after", "pay_unknown"],
      ["--csv", "--json"]
    ]
  ) {
    it.effect(`refuses what cannot be asked for: ${flags.join(" ")}`, () =>
      Effect.gen(function*() {
        const ran = yield* mpp(yield* strangers, ["payments", ...flags])
        assert.strictEqual(ran.status, 2)
        assert.notMatch(ran.stdout, /^\{\s*"payments"/)
      }))
  }

  it.effect("prints values for a spreadsheet, in which no cell is a formula", () =>
    Effect.gen(function*() {
      const live = yield* strangers
      yield* Effect.gen(function*() {
        for (const [at, agent] of ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "a,\"b\"\nc", "plain"].entries()) {
          const id = String(at)
          const purchase = new Ledger.Purchase({ ...purchaseOf(`p-${id}`), agent })
          yield* authorize(charge(id, 10_000n, { purchase }))
          yield* judge(id, "settled", "claimed")
          yield* deliver(`p-${id}`, "delivered")
        }
      }).pipe(Effect.provide(live()))
      const ran = yield* mpp(live, ["payments", "--csv"])
      assert.strictEqual(ran.status, 0)
      assert.match(ran.stdout, /^createdAt,id,agent,origin,method,path,rail,/)
      for (const cell of ["'=1+1", "'+1", "'-1", "'@sum", "'\tx", "\"'\rx\"", "\"a,\"\"b\"\"\nc\"", "plain"]) {
        assert.include(ran.stdout, `,${cell},https://merchant.test,GET,/,test,eip155:1337,`)
      }
    }))

  describe("where others have paid with the wallet", () => {
    const robbed = Effect.gen(function*() {
      const live = yield* customer
      yield* Effect.gen(function*() {
        const ledger = yield* Ledger.Ledger
        for (const [at, name] of ["early", "late"].entries()) {
          yield* ledger.foreign(foreign(name, { at: at * 5_400_000, notedAt: at }))
        }
      }).pipe(Effect.provide(live()))
      return live
    })

    it.effect("lists that below the payments, the newest first, since it counts as spent", () =>
      Effect.gen(function*() {
        const ran = yield* mpp(yield* robbed, ["payments"])
        const [, below] = ran.stdout.trimEnd().split("\n\n")
        assert.deepStrictEqual(below?.split("\n").map((row) => row.replaceAll(/ {2,}/g, "  ")), [
          "Left the wallet without this ledger, by a copy of it or by another program, and counts as spent:",
          "PAID (UTC)  TRANSACTION  NETWORK  TO  SPENT",
          "1970-01-01 01:30:00  0xlate  eip155:1337  0x2  $0.031",
          "1970-01-01 00:00:00  0xearly  eip155:1337  0x2  $0.031"
        ])
      }))

    it.effect("lists that alone where nothing else was paid", () =>
      Effect.gen(function*() {
        const live = yield* strangers
        yield* Effect.provide(Ledger.Ledger.use((ledger) => ledger.foreign(foreign("one"))), live())
        const ran = yield* mpp(live, ["payments"])
        assert.match(ran.stdout, /^Left the wallet without this ledger[^]*0xone/)
      }))

    it.effect("tells programs of it, and spreadsheets, in which all that was spent adds up", () =>
      Effect.gen(function*() {
        const live = yield* robbed
        const told = json(yield* mpp(live, ["payments", "--json"]))
        assert.strictEqual(told.payments.length, 3)
        assert.deepStrictEqual(told.foreign.map((one: { transaction: string }) => one.transaction), [
          "0xlate",
          "0xearly"
        ])
        assert.deepInclude(told.foreign[0], { paidAt: "1970-01-01T01:30:00.000Z", spentUsd: "0.031", units: "30000" })
        const rows = (yield* mpp(live, ["payments", "--csv"])).stdout.trimEnd().split("\n").map((row) => row.split(","))
        const column = (name: string) => rows[0]!.indexOf(name)
        assert.deepStrictEqual(rows.map((row) => row[column("state")]), [
          "state",
          "unknown",
          "settled",
          "settled",
          "foreign",
          "foreign"
        ])
        const spent = rows.slice(1).reduce((sum, row) => sum + Number(row[column("spentUsd")]), 0)
        assert.strictEqual(spent.toFixed(3), "0.092")
        assert.strictEqual(rows[4]![column("reference")], "0xlate")
        assert.strictEqual(
          (yield* mpp(live, ["payments", "--csv", "--limit", "4"])).stdout.trimEnd().split("\n").length,
          5
        )
      }))

    it.effect("leaves it out where only payments of an agent, a merchant, a rail or a state are asked for", () =>
      Effect.gen(function*() {
        const live = yield* robbed
        const found = Effect.fnUntraced(function*(...flags: ReadonlyArray<string>) {
          const { foreign } = json(yield* mpp(live, ["payments", "--json", ...flags]))
          return foreign.map((one: { transaction: string }) => one.transaction)
        })
        for (const flag of [["--agent", "default"], ["--origin", origin], ["--rail", "x"], ["--state", "settled"]]) {
          assert.deepStrictEqual(yield* found(...flag), [])
        }
        assert.deepStrictEqual(yield* found("--since", "1970-01-01T01:00Z"), ["0xlate"])
        assert.deepStrictEqual(yield* found("--until", "1970-01-01T01:00Z"), ["0xearly"])
      }))
  })

  it.effect("prints all values for a spreadsheet, however many pages they are", () =>
    Effect.gen(function*() {
      const live = yield* strangers
      yield* Effect.gen(function*() {
        for (let at = 0; at < 450; at++) yield* authorize(charge(`a${at}`, 1n))
      }).pipe(Effect.provide(live()))
      const lines = (ran: { readonly stdout: string }) => ran.stdout.trimEnd().split("\n").slice(1)
      const all = lines(yield* mpp(live, ["payments", "--csv"]))
      assert.deepStrictEqual(
        all.map((line) => line.split(",")[1]),
        Array.from({ length: 450 }, (_, at) => `p-a${449 - at}`)
      )
      assert.strictEqual(lines(yield* mpp(live, ["payments", "--csv", "--limit", "401"])).length, 401)
      assert.strictEqual(lines(yield* mpp(live, ["payments", "--csv", "--limit", "200"])).length, 200)
    }))
})

describe("mpp payments show", () => {
  it.effect("shows a payment with all evidence", () =>
    Effect.gen(function*() {
      const live = yield* customer
      const [{ id }] = json(yield* mpp(live, ["payments", "--json", "--state", "unknown"])).payments
      const ran = yield* mpp(live, ["payments", "show", id])
      assert.match(ran.stdout, new RegExp(`^Payment ${id}\n  for       POST ${origin}/cut\n`))
      assert.match(ran.stdout, /\nAuthorisation aut_\S+\n  over +test\/exact on eip155:1337\n/)
      assert.match(ran.stdout, /\n  state +unknown, since 1970-01-01 02:00:00\n  spent +\$0\.00\n  held +\$0\.03\n/)
      assert.match(ran.stdout, /\n    \w+ +\S/)
      const { payment } = json(yield* mpp(live, ["payments", "show", id, "--json"]))
      assert.deepInclude(payment, { id, path: "/cut", approvedUsd: "0.03", delivery: "undelivered" })
      const [one] = payment.authorizations
      assert.deepInclude(one, { state: "unknown", heldUsd: "0.03", units: "30000" })
      assert.match(one.planSha256, /^[0-9a-f]{64}$/)
      assert.isAbove(one.evidence.length, 0)
      assert.notProperty(one, "data")
    }))

  it.effect("does not know what is not there", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* strangers, ["payments", "show", "pay_nothing"])
      assert.deepStrictEqual([ran.status, ran.stdout], [2, ""])
      assert.include(ran.stderr, "no payment of this id")
    }))
})

describe("mpp payments abandon", () => {
  it.effect("needs --yes where nobody can be asked, and says what it means for the money", () =>
    Effect.gen(function*() {
      const live = yield* customer
      const [{ id }] = json(yield* mpp(live, ["payments", "--json", "--state", "unknown"])).payments
      const asked = yield* mpp(live, ["payments", "abandon", id])
      assert.deepStrictEqual([asked.status, asked.stdout], [2, ""])
      assert.include(asked.stderr, "$0.03 stay held until it is known what became of them")
      assert.include(asked.stderr, "--yes")
      const ran = yield* mpp(live, ["payments", "abandon", id, "--yes"])
      assert.strictEqual(ran.status, 0)
      assert.include(ran.stdout, `Abandoned ${id}. The next equal request will be a new payment.`)
      const again = yield* mpp(live, ["fetch", `${origin}/cut`, "-d", "x", "--json"])
      assert.strictEqual(again.status, 0, again.stderr)
      assert.deepInclude(json(again).budget, { spent: "0.05", exposed: "0.03" })
    }))

  it.effect("leaves alone what has ended, and what somebody is at work on", () =>
    Effect.gen(function*() {
      const live = yield* customer
      const [{ id }] = json(yield* mpp(live, ["payments", "--json", "--limit", "1", "--state", "settled"])).payments
      const ended = yield* mpp(live, ["payments", "abandon", id, "--yes", "--json"])
      assert.strictEqual(ended.status, 3)
      assert.deepInclude(json(ended).error, {
        _tag: "Refused",
        message: "There is nothing to abandon: this payment is delivered"
      })
      yield* Effect.provide(authorize(charge("a", 1n)), live())
      const open = yield* mpp(live, ["payments", "abandon", "p-a", "--yes"])
      assert.strictEqual(open.status, 3)
      assert.include(open.stderr, "at work on this payment")
    }))
})
