import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as AgentTest from "../../src/testing/AgentTest.ts"
import { json, mpp, same } from "./harness.ts"

const origin = "https://merchant.test"

const merchant: ReadonlyArray<AgentTest.Route> = [
  { path: "/free", answer: { hello: "world" } },
  { path: "/gone", answer: { error: "gone" }, status: 410 },
  { path: "/a", price: "0.01", answer: { paid: true } },
  { path: "/post", method: "POST", price: "0.01", answer: { paid: true } },
  { path: "/dear", price: "9.00", answer: {} },
  { path: "/refuse", price: "0.01", answer: {}, faults: ["refuse"] },
  { path: "/fail", price: "0.01", answer: {}, faults: ["take-and-fail", "take-and-fail"] },
  { path: "/cut", method: "POST", price: "0.01", answer: {}, faults: ["take-and-cut"] },
  { path: "/down", price: "0.01", answer: {}, faults: Array.from({ length: 20 }, () => "refuse-connection" as const) }
]

const agents = same(AgentTest.layer({ merchant }))

/** The merchant's demand, from a client that is a test's own. */
const demand = () =>
  new Response("{}", {
    status: 402,
    headers: {
      "payment-required": Base64.encode(JSON.stringify({
        x402Version: 2,
        resource: { url: `${origin}/a` },
        accepts: [{
          scheme: "exact",
          network: AgentTest.asset.network,
          amount: "10000",
          asset: AgentTest.asset.address,
          payTo: "0x00000000000000000000000000000000000000b2",
          maxTimeoutSeconds: 60,
          extra: AgentTest.asset.domain
        }]
      }))
    }
  })

/** A run whose waits are not waited for. */
const patient = <A, E, R>(run: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(run)
    for (let minute = 0; minute < 20; minute++) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("1 minute")
    }
    return yield* Fiber.join(fiber)
  })

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "mpp-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
)

describe("mpp fetch", () => {
  it.effect("prints the body of a free resource untouched, and nothing else", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/free`])
      assert.deepStrictEqual([ran.status, ran.stdout, ran.stderr], [0, "{\"hello\":\"world\"}", ""])
    }))

  it.effect("says in one line on stderr what was paid", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/a`])
      assert.deepStrictEqual([ran.status, ran.stdout], [0, "{\"paid\":true}"])
      assert.match(
        ran.stderr,
        /^mpp: paid 0\.01 TEST \(10000 units on eip155:1337\) to 0x\S+ over test\/exact: settled, delivered; \$0\.99 of \$1\.00 left\n$/
      )
    }))

  it.effect("prints one document with --json", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/a`, "--json"])
      const { headers, payment: { id, ...payment }, ...document } = json(ran)
      assert.strictEqual(ran.status, 0)
      assert.strictEqual(ran.stderr, "")
      assert.deepStrictEqual(document, {
        status: 200,
        body: "{\"paid\":true}",
        budget: { limit: "1.00", spent: "0.01", exposed: "0.00", remaining: "0.99" }
      })
      assert.match(id, /^pay_/)
      assert.deepStrictEqual(payment, {
        rail: "test/exact",
        amount: "0.01",
        units: "10000",
        asset: "TEST",
        network: "eip155:1337",
        payee: "0x00000000000000000000000000000000000000b2",
        state: "settled",
        delivered: true,
        receipt: { reference: "0x01", status: "success", timestamp: null }
      })
      assert.deepStrictEqual(headers, { "content-type": "application/json", "payment-response": "<redacted>" })
    }))

  it.effect("has no payment where nothing was paid, and takes --json before the command as well", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["--json", "fetch", `${origin}/free`])
      const { budget, payment } = json(ran)
      assert.isNull(payment)
      assert.strictEqual(budget.spent, "0.00")
    }))

  it.effect("prints what a server says with an error status, and is done, like curl", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/gone`])
      assert.deepStrictEqual([ran.status, ran.stdout, ran.stderr], [
        0,
        "{\"error\":\"gone\"}",
        "mpp: the server answered 410\n"
      ])
    }))

  it.effect("exits with 3 where the price is above the ceiling, and tells how the budget stands", () =>
    Effect.gen(function*() {
      const live = yield* agents
      const { budget, error } = json(yield* mpp(live, ["fetch", `${origin}/dear`, "--json"]))
      assert.deepStrictEqual([error._tag, error.money, error.scope, error.requested], [
        "BudgetExceeded",
        "unspent",
        "request",
        "9000000"
      ])
      assert.strictEqual(error.origin, origin)
      assert.deepStrictEqual(budget, { limit: "1.00", spent: "0.00", exposed: "0.00", remaining: "1.00" })
      const ran = yield* mpp(live, ["fetch", `${origin}/a`, "--max", "0.001"])
      assert.deepStrictEqual([ran.status, ran.stdout], [3, ""])
      assert.match(ran.stderr, /^mpp: The price of \$0\.01 is above the ceiling of \$0\.001/)
    }))

  it.effect("exits with 3 where no offer can be paid on the rail that was asked for", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/a`, "--rail", "tempo/charge", "--json"])
      assert.strictEqual(ran.status, 3)
      assert.strictEqual(json(ran).error._tag, "NoPayableOffer")
      assert.notInclude(ran.stdout, "\"wire\"")
    }))

  it.effect("exits with 4 where the server refuses the payment", () =>
    Effect.gen(function*() {
      const ran = yield* patient(mpp(yield* agents, ["fetch", `${origin}/refuse`, "--json"]))
      const { budget, error } = json(ran)
      assert.deepStrictEqual([ran.status, error._tag, error.money], [4, "PaymentRejected", "held"])
      assert.strictEqual(budget.exposed, "0.01")
    }))

  it.effect("exits with 5 where the money is gone and the content did not come", () =>
    Effect.gen(function*() {
      const ran = yield* patient(mpp(yield* agents, ["fetch", `${origin}/fail`, "--json"]))
      const { budget, error } = json(ran)
      assert.deepStrictEqual([ran.status, error._tag, error.money], [5, "PaidUndelivered", "spent"])
      assert.strictEqual(budget.spent, "0.01")
    }))

  it.effect("exits with 5 where the connection broke after the payment was sent", () =>
    Effect.gen(function*() {
      const ran = yield* patient(mpp(yield* agents, ["fetch", `${origin}/cut`, "-X", "POST", "--json"]))
      assert.strictEqual(ran.status, 5)
      assert.include(["PaidUndelivered", "PaymentUncertain"], json(ran).error._tag)
    }))

  it.effect("exits with 6 where the server stays away after all waiting", () =>
    Effect.gen(function*() {
      const ran = yield* patient(mpp(yield* agents, ["fetch", `${origin}/down`, "--json"]))
      const { error } = json(ran)
      assert.deepStrictEqual([ran.status, error._tag, error.money], [6, "Unavailable", "unspent"])
    }))

  it.effect("sends data from the command line, a file and stdin, and asks for POST by itself", () =>
    Effect.gen(function*() {
      const live = yield* agents
      const directory = yield* temporary
      const file = join(directory, "in")
      writeFileSync(file, "from a file")
      for (const data of ["text", `@${file}`, "@-"]) {
        const ran = yield* mpp(live, ["fetch", `${origin}/post`, "-d", data, "-H", `Idempotency-Key: ${data}`], [
          new TextEncoder().encode("from stdin")
        ])
        assert.deepStrictEqual([ran.status, ran.stdout], [0, "{\"paid\":true}"], ran.stderr)
      }
    }))

  it.effect("writes the body to a file, and empties that file only when there is a body", () =>
    Effect.gen(function*() {
      const live = yield* agents
      const file = join(yield* temporary, "out")
      writeFileSync(file, "something longer than the answer that was here before")
      const refused = yield* mpp(live, ["fetch", `${origin}/dear`, "-o", file])
      assert.strictEqual(refused.status, 3)
      assert.include(readFileSync(file, "utf8"), "here before")
      const ran = yield* mpp(live, ["fetch", `${origin}/a`, "-o", file, "--json"])
      assert.strictEqual(ran.status, 0)
      assert.strictEqual(readFileSync(file, "utf8"), "{\"paid\":true}")
      assert.isNull(json(ran).body)
      assert.isTrue(json(ran).payment.delivered)
    }))

  it.effect("pays nothing if the file cannot be opened", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/a`, "-o", "/nowhere/at/all", "--json"])
      const { budget, error } = json(ran)
      assert.deepStrictEqual([ran.status, error.money, budget.spent], [1, "unspent", "0.00"])
      assert.isFalse(existsSync("/nowhere"))
    }))

  it.effect("exits with 5 where what was paid for cannot be written", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* agents, ["fetch", `${origin}/a`, "-o", "/dev/full", "--json"])
      const { budget, error } = json(ran)
      assert.deepStrictEqual([ran.status, error.money, budget.spent], [5, "spent", "0.01"])
    }))

  it.effect("calls a defect a bug, and says what it means for the money", () =>
    Effect.gen(function*() {
      const dies = (pays: boolean) =>
        same(AgentTest.layerOver(
          {},
          Layer.succeed(
            HttpClient.HttpClient,
            HttpClient.make((request) =>
              pays && request.headers["payment-signature"] === undefined
                ? Effect.succeed(HttpClientResponse.fromWeb(request, demand()))
                : Effect.die(new Error("the client broke"))
            )
          )
        ))
      for (
        const [pays, status, tag, money] of [[false, 1, "Bug", "unspent"], [
          true,
          5,
          "PaymentUncertain",
          "unknown"
        ]] as const
      ) {
        const ran = yield* mpp(yield* dies(pays), ["fetch", `${origin}/a`, "--json"])
        const { error } = json(ran)
        assert.deepStrictEqual([ran.status, error._tag, error.money], [status, tag, money])
      }
    }))

  it.effect("says what would be paid with --dry-run, and pays nothing", () =>
    Effect.gen(function*() {
      const live = yield* agents
      const ran = yield* mpp(live, ["fetch", `${origin}/a`, "--dry-run", "--json"])
      const document = json(ran)
      assert.deepStrictEqual([ran.status, document.dryRun, document.payment, document.payable], [0, true, null, true])
      assert.strictEqual(document.budget.spent, "0.00")
      assert.strictEqual(document.offers[0].price, "0.01")
      const people = yield* mpp(live, ["fetch", `${origin}/a`, "--dry-run"])
      assert.match(people.stdout, /x402 exact\s+eip155:1337\s+\$0\.01\s+test\/exact/)
      const dear = yield* mpp(live, ["fetch", `${origin}/dear`, "--dry-run", "--json"])
      assert.deepStrictEqual([dear.status, json(dear).error._tag], [3, "BudgetExceeded"])
    }))
})

describe("a mistake in the command line", () => {
  const mistakes: ReadonlyArray<readonly [why: string, args: ReadonlyArray<string>]> = [
    ["an unknown flag", ["fetch", `${origin}/a`, "--maximum", "1"]],
    ["an unknown command", ["steal"]],
    ["no URL", ["fetch"]],
    ["no URL at all", ["fetch", "api.example.com"]],
    ["another protocol", ["fetch", "ftp://api.example.com"]],
    ["a password in the URL", ["fetch", "https://me:hunter2@api.example.com"]],
    ["no amount", ["fetch", `${origin}/a`, "--max", "a lot"]],
    ["a negative amount", ["fetch", `${origin}/a`, "--max=-1"]],
    ["no number", ["fetch", `${origin}/a`, "--expect", "many"]],
    ["no header", ["fetch", `${origin}/a`, "-H", "hunter2"]],
    ["a header with a second line", ["fetch", `${origin}/a`, "-H", "A: b\r\nAuthorization: hunter2"]],
    ["an unknown rail", ["fetch", `${origin}/a`, "--rail", "paypal"]],
    ["a body for GET", ["fetch", `${origin}/a`, "-X", "GET", "-d", "x"]],
    ["an unknown method", ["fetch", `${origin}/a`, "-X", "STEAL"]],
    ["a demo of nothing", ["demo", "--requests", "0"]],
    ["a demo of blocks that never come", ["demo", "--block-time", "3600"]]
  ]
  for (const [why, args] of mistakes) {
    it.effect(`exits with 2: ${why}`, () =>
      Effect.gen(function*() {
        const live = yield* agents
        const ran = yield* mpp(live, args)
        assert.deepStrictEqual([ran.status, ran.stdout], [2, ""], ran.stderr)
        assert.match(ran.stderr, /^mpp: .+\n$/)
        assert.notInclude(ran.stderr, "hunter2@")
        const told = yield* mpp(live, [...args, "--json"])
        const { error } = json(told)
        assert.deepStrictEqual([told.status, error._tag, error.money], [2, "Usage", "unspent"])
      }))
  }

  it.effect("is none where help or the version is asked for", () =>
    Effect.gen(function*() {
      const live = yield* agents
      assert.strictEqual((yield* mpp(live, ["--version"])).status, 0)
      assert.strictEqual((yield* mpp(live, ["fetch", "--help"])).status, 0)
      const bare = yield* mpp(live, [])
      assert.strictEqual(bare.status, 0)
      assert.include(bare.stdout, "fetch")
    }))
})
