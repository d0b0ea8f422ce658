/**
 * Redirects, bodies and connections that lead a payment, or its credential, to where it should not go.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Stream from "effect/Stream"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import { honest, type Reply, type Sale, takes } from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, get, hostile, origin, outcome, patiently, price, standing } = World

const credentialHeaders = ["authorization", "payment-authorization", "payment-signature", "x-payment", "sign-in-with-x"]

const redirects = (status: number, location: string) => (): Reply =>
  new Response(null, { status, headers: { location } })

/** Nobody but the merchant saw anything that can move money. */
const assertKept = ({ seen }: World.World) => {
  for (const { headers, url } of seen) {
    if (new URL(url).origin === origin) continue
    assert.deepStrictEqual(credentialHeaders.filter((name) => headers[name] !== undefined), [], url)
  }
}

describe("a redirect", () => {
  const targets: ReadonlyArray<readonly [string, string]> = [
    ["another origin", "https://evil.test/data"],
    ["plain http", "http://merchant.test/data"],
    ["another port", "https://merchant.test:8443/data"]
  ]
  for (const [name, location] of targets) {
    for (const status of [302, 307, 308]) {
      it.effect(`91: to ${name} (${status}) before the payment is not paid there`, () =>
        hostile(
          {
            sells: ["x402", "session"],
            sessionOrigins: ["*"],
            unpaid: redirects(status, location),
            others: {
              "evil.test": { sells: ["x402", "session"] },
              "merchant.test:8443": { sells: ["x402", "session"] }
            }
          },
          Effect.fnUntraced(function*(world) {
            const what = yield* outcome(Payment.with(buy(), { expect: 10 }))
            assert.match(
              what,
              location.startsWith("http:") ? /^HttpClientError.*InvalidUrl/ : /^PolicyDenied \(unspent\)$/
            )
            assert.strictEqual(world.paid().length, 0)
            assert.strictEqual(world.signatures(), 0)
            assertKept(world)
          })
        ))

      it.effect(`91: to ${name} (${status}) after the payment is not followed with it`, () =>
        hostile(
          {
            paid: [takes(redirects(status, location))],
            elsewhere: () => new Response("{}")
          },
          Effect.fnUntraced(function*(world) {
            assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
            assert.isTrue(world.seen.every((it) => new URL(it.url).origin === origin))
            assertKept(world)
          })
        ))

      it.effect(`91: to ${name} (${status}) with a token attached is not followed with it`, () =>
        hostile(
          {
            sells: ["session"],
            paid: [honest, redirects(status, location)],
            others: { "evil.test": { sells: ["session"] }, "merchant.test:8443": { sells: ["session"] } },
            elsewhere: () => new Response("{}")
          },
          Effect.fnUntraced(function*(world) {
            yield* Payment.with(buy(), { expect: 10 })
            yield* outcome(Payment.with(buy(), { expect: 10 }))
            assertKept(world)
          })
        ))
    }
  }

  it.effect("91: within the origin is followed, and paid where it ends", () =>
    hostile(
      {
        unpaid: (sale: Sale) => sale.url.pathname === "/data" ? redirects(302, "/moved")() : sale.demand()
      },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.deepStrictEqual(yield* buy(), { bought: "content" })
        assert.deepStrictEqual(paid().map((it) => it.url), [`${origin}/moved`])
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("92: that a client below follows by itself is seen by the URL that answered, and not paid", () =>
    hostile(
      {
        unpaid: redirects(307, "https://evil.test/data"),
        others: { "evil.test": { unpaid: ({ demand }) => demand({}, { resource: { url: World.url } }) } },
        transformClient: HttpClient.followRedirects(3)
      },
      Effect.fnUntraced(function*({ signatures }) {
        const { reason } = yield* failure(buy())
        assert.deepInclude(reason, { _tag: "PolicyDenied", rule: "redirected" })
        assert.strictEqual(signatures(), 0)
      })
    ))

  it.effect("92: that a client below follows with the payment leaves the outcome open, whatever the other server says", () =>
    hostile(
      {
        nodes: 0,
        paid: [redirects(307, "https://evil.test/data")],
        others: { "evil.test": { paid: [() => new Response("{\"bought\":\"content\"}")] } },
        transformClient: HttpClient.followRedirects(3)
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))
})

describe("a connection", () => {
  it.effect("94: whose failure a browser does not explain leaves the outcome open", () =>
    hostile(
      { nodes: 0, paid: [() => "blocked"] },
      Effect.fnUntraced(function*({ signatures }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(signatures(), 1)
      })
    ))

  it.effect("over plain http to another machine is not paid", () =>
    hostile(
      { others: { "plain.test": {} } },
      Effect.fnUntraced(function*({ signatures }) {
        assert.strictEqual(yield* outcome(buy("http://plain.test/data")), "PolicyDenied (unspent)")
        assert.strictEqual(signatures(), 0)
      })
    ))

  it.effect("sends no payment to another origin that is asked under the same key", () =>
    hostile(
      { paid: [() => "cut"], others: { "evil.test": { requirement: { amount: "1" } } } },
      Effect.fnUntraced(function*(world) {
        const keyed = Payment.with({ key: "order-1" })
        assert.strictEqual(yield* outcome(keyed(buy())), "PaymentUncertain (unknown)")
        yield* outcome(keyed(buy("https://evil.test/data")))
        const nonces = (host: string) =>
          world.paid().filter((it) => it.url.includes(host)).map((it) => it.authorization!.nonce)
        assert.isFalse(nonces("evil").some((nonce) => nonces("merchant").includes(nonce)))
      })
    ))
})

describe("a body", () => {
  it.effect("that cannot be sent twice is not paid for", () =>
    hostile(
      {},
      Effect.fnUntraced(function*({ paid, signatures }) {
        const request = HttpClientRequest.bodyStream(HttpClientRequest.post(World.url), Stream.make(new Uint8Array(8)))
        const client = yield* PayingClient.PayingClient
        assert.strictEqual(yield* outcome(patiently(client.execute(request))), "PolicyDenied (unspent)")
        assert.deepStrictEqual([paid().length, signatures()], [0, 0])
      })
    ))

  it.effect("of a demand that never ends is read to the cap, and handed on whole", () => {
    let chunks = 0
    const endless = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            chunks++
            controller.enqueue(new Uint8Array(64 * 1024).fill(32))
          }
        }, { highWaterMark: 0 }),
        { status: 402 }
      )
    return hostile(
      { unpaid: endless },
      Effect.fnUntraced(function*({ signatures }) {
        const response = yield* get()
        assert.strictEqual(response.status, 402)
        assert.isAtMost(chunks, 10)
        assert.strictEqual(signatures(), 0)
        const taken = yield* response.stream.pipe(Stream.take(8), Stream.runCollect)
        assert.isAtLeast(taken.length, 5)
      })
    )
  })

  it.effect("of a demand that breaks off is no demand", () => {
    const broken = () =>
      new Response(
        new ReadableStream({ pull: (controller) => controller.error(new Error("connection lost")) }, {
          highWaterMark: 0
        }),
        { status: 402 }
      )
    return hostile(
      { unpaid: broken },
      Effect.fnUntraced(function*({ signatures }) {
        const response = yield* get()
        assert.strictEqual(response.status, 402)
        assert.strictEqual(signatures(), 0)
      })
    )
  })
})
