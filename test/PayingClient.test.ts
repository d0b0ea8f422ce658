import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Ref, Result, Schedule, Stream } from "effect"
import { Base64 } from "effect/encoding"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Agent from "../src/Agent.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as PaymentError from "../src/PaymentError.ts"
import * as Rails from "../src/Rails.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"
import * as Transport from "../src/Transport.ts"

const origin = "https://merchant.test"

const agent = AgentTest.layer({
  merchant: [
    { path: "/free", answer: { free: true } },
    { path: "/a", price: "0.01", answer: { bought: "a" } },
    { path: "/a", method: "POST", price: "0.01", answer: { bought: "posted" } },
    { path: "/dear", price: "9.00", answer: {} },
    { path: "/broken", price: "0.01", answer: {}, faults: ["take-and-fail"] }
  ]
})

const charges = Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.charges)

/** A fake server below the client under test, and what it was asked. */
const server = (answer: (request: HttpClientRequest.HttpClientRequest, url: URL) => Response) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, url) => Effect.succeed(HttpClientResponse.fromWeb(request, answer(request, url))))
  )

const demand = (url: URL) =>
  new Response("{}", {
    status: 402,
    headers: {
      "payment-required": Base64.encode(JSON.stringify({
        x402Version: 2,
        resource: { url: url.href },
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

const absurd: Rails.Verdict = {
  _tag: "Unknown",
  content: false,
  evidence: new Rails.Evidence({ rank: "presumed", what: "nothing" }),
  next: { _tag: "reconcile" }
}

describe("PayingClient", () => {
  it.effect("pays under the tag of HttpClient, for a program that knows nothing of payment", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.get(`${origin}/a`)
      assert.deepStrictEqual(yield* response.json, { bought: "a" })
      assert.deepStrictEqual(yield* charges, [10_000n])
    }).pipe(Effect.provide(agent)))

  it.effect("carries a payment failure as a status error of 402, which no transient retry repeats", () =>
    Effect.gen(function*() {
      const attempts = yield* Ref.make(0)
      const client = (yield* HttpClient.HttpClient).pipe(
        HttpClient.tapRequest(() => Ref.update(attempts, (n) => n + 1)),
        HttpClient.retryTransient({ schedule: Schedule.recurs(5) })
      )
      const error = yield* Effect.flip(client.get(`${origin}/dear`))
      assert.isTrue(HttpClientError.isHttpClientError(error) && error.reason._tag === "StatusCodeError")
      assert.strictEqual(error.response?.status, 402)
      assert.strictEqual(Option.getOrThrow(PaymentError.find(error)).reason._tag, "BudgetExceeded")
      assert.strictEqual(yield* Ref.get(attempts), 1)
    }).pipe(Effect.provide(agent)))

  it.effect("sends a body again with the credential, unchanged", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const request = HttpClientRequest.post(`${origin}/a`).pipe(HttpClientRequest.bodyJsonUnsafe({ order: 1 }))
      const response = yield* client.execute(request)
      assert.deepStrictEqual(yield* response.json, { bought: "posted" })
    }).pipe(Effect.provide(agent)))

  it.effect("names a paid request that is not safe, so that the merchant knows it again; never in the caller's stead", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [method: string, paid: boolean, key: string | undefined]> = []
      const merchant = server((request, url) => {
        const paid = request.headers["payment-signature"] !== undefined
        seen.push([request.method, paid, request.headers["idempotency-key"]])
        return paid
          ? new Response("{}", { headers: { "payment-response": Base64.encode(JSON.stringify({ success: true })) } })
          : demand(url)
      })
      const program = Effect.gen(function*() {
        const client = yield* PayingClient.PayingClient
        yield* client.post(`${origin}/a`)
        yield* client.post(`${origin}/b`, { headers: { "Idempotency-Key": "order-7" } })
        yield* client.get(`${origin}/c`)
        return yield* Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({}))
      })
      const first = (yield* Effect.provide(program, AgentTest.layerOver({}, merchant))).at(-1)
      assert.deepStrictEqual(seen, [
        ["POST", false, undefined],
        ["POST", true, first?.purchase.id],
        ["POST", false, "order-7"],
        ["POST", true, "order-7"],
        ["GET", false, undefined],
        ["GET", true, undefined]
      ])
    }))

  it.effect("says how it can pay only if it is told to, and never in the caller's stead", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const merchant = server((request) => {
        seen.push(request.headers["accept-payment"])
        return new Response("{}")
      })
      const rail = (accept: string | undefined): Rails.Rail => ({
        name: accept ?? "none",
        accept,
        payer: "",
        steps: 1,
        repeats: true,
        accepts: () => Result.fail({ why: "" }),
        plan: () => Effect.die("not planned"),
        sign: () => Effect.die("not signed"),
        judge: () => absurd,
        reconcile: () => Effect.succeed(absurd),
        session: Option.none()
      })
      for (const acceptPayment of [true, false]) {
        const agent = Agent.layer({
          acceptPayment,
          ledger: Ledger.layerMemory({ quiet: true }),
          rails: Layer.mergeAll(
            Rails.layerAdd(Effect.succeed(rail("tempo/charge"))),
            Rails.layerAdd(Effect.succeed(rail(undefined))),
            Rails.layerAdd(Effect.succeed(rail("evm/charge")))
          )
        }).pipe(Layer.provide(merchant))
        yield* Effect.provide(
          Effect.gen(function*() {
            const client = yield* PayingClient.PayingClient
            yield* client.get(`${origin}/a`)
            yield* client.get(`${origin}/a`, { headers: { "accept-payment": "stripe/*" } })
          }),
          agent
        )
      }
      assert.strictEqual(seen[0]?.split(", ").toSorted().join(), "evm/charge,tempo/charge")
      assert.deepStrictEqual(seen.slice(1), ["stripe/*", undefined, "stripe/*"])
    }))

  it.effect("does not pay for a body that cannot be sent again", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const request = HttpClientRequest.post(`${origin}/a`).pipe(
        HttpClientRequest.bodyStream(Stream.make(new TextEncoder().encode("x")))
      )
      const error = yield* Effect.flip(client.execute(request))
      const { reason } = Option.getOrThrow(PaymentError.find(error))
      assert.isTrue(reason._tag === "PolicyDenied" && reason.rule === "unreplayable-body")
      assert.deepStrictEqual(yield* charges, [])
    }).pipe(Effect.provide(agent)))

  it.effect("shows the caller's request in the response, not the one with the credential", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const response = yield* client.get(`${origin}/a`)
      assert.isUndefined(response.request.headers["payment-signature"])
      assert.notInclude(JSON.stringify(response), "payment-signature")
    }).pipe(Effect.provide(agent)))

  it.effect("tells purchases apart by what selects the content, and by the caller's key", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      yield* client.get(`${origin}/a`)
      yield* client.get(`${origin}/a`, { headers: { cookie: "tenant=b" } })
      yield* client.get(`${origin}/a?page=2`)
      const ledger = yield* Ledger.Ledger
      const keys = (yield* ledger.purchases({})).map(({ purchase }) => purchase.key)
      assert.strictEqual(new Set(keys).size, 3)
      assert.isTrue(keys.every((key) => !key.includes("tenant")))
    }).pipe(Effect.provide(agent)))

  it.effect("counts a purchase as delivered when its body was read", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const ledger = yield* Ledger.Ledger
      const delivery = Effect.map(ledger.purchases({}), (all) => all[0]?.purchase.delivery)
      const response = yield* client.get(`${origin}/a`)
      assert.strictEqual(yield* delivery, "delivering")
      yield* Stream.runDrain(response.stream)
      assert.strictEqual(yield* delivery, "delivered")
    }).pipe(Effect.provide(agent)))

  it.effect("passes through what is sent by the client that never pays", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const response = yield* Effect.provideService(client.get(`${origin}/a`), Transport.Unpaid, true)
      assert.strictEqual(response.status, 402)
      assert.deepStrictEqual(yield* charges, [])
    }).pipe(Effect.provide(agent)))
})

describe("PayingClient and bodies", () => {
  const receipt = Base64.encode(JSON.stringify({
    success: true,
    transaction: "0x01",
    network: AgentTest.asset.network,
    payer: "0x00000000000000000000000000000000000000a1"
  }))

  /** Takes every credential, and never sends more than a beginning. */
  const stalling = (credentials: Set<string>) =>
    server((request, url) => {
      const credential = request.headers["payment-signature"]
      if (credential === undefined) return demand(url)
      credentials.add(credential)
      const beginning = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array([123])) })
      return new Response(beginning, { headers: { "payment-response": receipt } })
    })

  it.effect("pays once for a body that never ends, whatever times out and retries around it", () => {
    const credentials = new Set<string>()
    return Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const fiber = yield* client.get(`${origin}/a`).pipe(
        Effect.flatMap((response) => response.json),
        Effect.timeout("2 seconds"),
        Effect.retry({ times: 9 }),
        Effect.forkChild
      )
      for (let i = 0; i < 100 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      assert.strictEqual(credentials.size, 1)
    }).pipe(Effect.provide(AgentTest.layerOver({}, stalling(credentials))))
  })

  it.effect("counts an answer without a body as delivered at once", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      yield* client.get(`${origin}/a`)
      const ledger = yield* Ledger.Ledger
      assert.strictEqual((yield* ledger.purchases({}))[0]?.purchase.delivery, "delivered")
    }).pipe(Effect.provide(AgentTest.layerOver(
      {},
      server((request, url) =>
        request.headers["payment-signature"] === undefined
          ? demand(url)
          : new Response(null, { status: 204, headers: { "payment-response": receipt } })
      )
    ))))

  it.effect("looks no longer than ten seconds at the body of a demand", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const fiber = yield* Effect.forkChild(client.get(`${origin}/a`))
      for (let i = 0; i < 100 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 402)
    }).pipe(Effect.provide(AgentTest.layerOver(
      {},
      server(() => new Response(new ReadableStream({ start: () => {} }), { status: 402 }))
    ))))
})

describe("PayingClient and redirects", () => {
  const withServer = (answer: (request: HttpClientRequest.HttpClientRequest, url: URL) => Response) =>
    Effect.provide(AgentTest.layerOver({}, server(answer)))

  it.effect("follows hops of free resources as before", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.get(`${origin}/old`)
      assert.strictEqual(response.status, 200)
      assert.strictEqual(yield* response.text, "/new")
    }).pipe(withServer((_, url) =>
      url.pathname === "/old"
        ? new Response(null, { status: 302, headers: { location: "/new" } })
        : new Response(url.pathname)
    )))

  it.effect("leaves a hop to a caller who wants to see it", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.get(`${origin}/old`)
      assert.strictEqual(response.status, 302)
    }).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
      withServer(() => new Response(null, { status: 302, headers: { location: "/new" } }))
    ))

  it.effect("does not pay another origin than the one that was asked", () => {
    const seen: Array<string> = []
    return Effect.gen(function*() {
      const error = yield* Effect.flip(HttpClient.get(`${origin}/old`))
      const { reason } = Option.getOrThrow(PaymentError.find(error))
      assert.isTrue(reason._tag === "PolicyDenied" && reason.rule === "redirected")
      assert.deepStrictEqual(seen, [])
    }).pipe(withServer((request, url) => {
      if (request.headers["payment-signature"] !== undefined) seen.push(url.href)
      return url.pathname === "/old"
        ? new Response(null, { status: 307, headers: { location: "https://evil.test/shop" } })
        : demand(url)
    }))
  })

  it.effect("follows no hop from https to http", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(HttpClient.get(`${origin}/old`))
      assert.isTrue(HttpClientError.isHttpClientError(error))
    }).pipe(withServer((_, url) =>
      url.pathname === "/old"
        ? new Response(null, { status: 302, headers: { location: "http://merchant.test/new" } })
        : new Response("plain")
    )))

  it.effect("follows no hop back to http once one of them went over https, wherever the chain began", () => {
    const seen: Array<string> = []
    const hops: { readonly [from: string]: string } = {
      "http://merchant.test/old": `${origin}/new`,
      [`${origin}/new`]: "http://merchant.test/plain"
    }
    return Effect.gen(function*() {
      const errors = [
        yield* Effect.flip(HttpClient.get("http://merchant.test/old")),
        yield* Effect.flip(PayingClient.quote(HttpClientRequest.get("http://merchant.test/old")))
      ]
      for (const error of errors) {
        assert.isTrue(HttpClientError.isHttpClientError(error) && error.reason._tag === "InvalidUrlError")
      }
      assert.deepStrictEqual([...new Set(seen)], ["http://merchant.test/old", `${origin}/new`])
    }).pipe(withServer((_, url) => {
      seen.push(url.href)
      const location = hops[url.href]
      return location === undefined
        ? new Response("plain")
        : new Response(null, { status: 302, headers: { location } })
    }))
  })

  describe("quote", () => {
    const moved = (location: string) => new Response(null, { status: 302, headers: { location } })
    const quote = (path: string) => PayingClient.quote(HttpClientRequest.get(origin + path))
    const world = withServer((request, url) => {
      assert.isUndefined(request.headers["payment-signature"])
      switch (url.host + url.pathname) {
        case "merchant.test/old":
          return moved("/new")
        case "merchant.test/abroad":
          return moved("https://other.test/new")
        case "merchant.test/away":
          return moved("https://other.test/free")
        case "merchant.test/round":
          return moved("/round")
        case "merchant.test/broken":
          return new Response("no", { status: 500 })
        case "other.test/free":
          return new Response("free")
        default:
          return demand(url)
      }
    })

    it.effect("follows redirects to what is demanded there, and pays nothing", () =>
      Effect.gen(function*() {
        const { candidates, failure, free, origin: at, status, warnings } = yield* quote("/old")
        assert.deepStrictEqual([at, status, free, candidates.length, warnings.length], [origin, 402, false, 1, 1])
        assert.isTrue(Option.isNone(failure))
        const ledger = yield* Ledger.Ledger
        assert.deepStrictEqual(yield* ledger.purchases({}), [])
      }).pipe(world))

    it.effect("says that another origin would not be paid", () =>
      Effect.gen(function*() {
        const { candidates, failure, status } = yield* quote("/abroad")
        const reason = Option.getOrThrow(failure)
        assert.deepStrictEqual([status, candidates.length], [402, 1])
        assert.isTrue(reason._tag === "PolicyDenied" && reason.rule === "redirected")
      }).pipe(world))

    it.effect("follows redirects to what is free, wherever it is", () =>
      Effect.gen(function*() {
        const { free, status } = yield* quote("/away")
        assert.deepStrictEqual([status, free], [200, true])
      }).pipe(world))

    it.effect("calls nothing free but what was answered with success", () =>
      Effect.gen(function*() {
        for (const [path, status] of [["/round", 302], ["/broken", 500]] as const) {
          const quoted = yield* quote(path)
          assert.deepStrictEqual([quoted.status, quoted.free], [status, false])
          assert.isTrue(Option.isNone(quoted.failure))
        }
      }).pipe(world))
  })

  it.effect("sends no credential after a hop on the paid leg", () => {
    const seen: Array<string> = []
    return Effect.gen(function*() {
      const error = yield* Effect.flip(HttpClient.get(`${origin}/a`))
      const found = Option.getOrThrow(PaymentError.find(error))
      assert.strictEqual(found.reason._tag, "PaymentUncertain")
      assert.deepStrictEqual(seen, [`${origin}/a`])
    }).pipe(withServer((request, url) => {
      if (request.headers["payment-signature"] === undefined) return demand(url)
      seen.push(url.href)
      return new Response(null, { status: 307, headers: { location: "https://evil.test/shop" } })
    }))
  })

  it.effect("does not pay what a client below it fetched from somewhere else", () => {
    const moved = (url: URL) => Object.defineProperty(demand(url), "url", { value: "https://evil.test/shop" })
    return Effect.gen(function*() {
      const error = yield* Effect.flip(HttpClient.get(`${origin}/a`))
      const { reason } = Option.getOrThrow(PaymentError.find(error))
      assert.isTrue(reason._tag === "PolicyDenied" && reason.rule === "redirected")
    }).pipe(withServer((_, url) => moved(url)))
  })
})
