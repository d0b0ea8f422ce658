import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, Layer, Option, Redacted, Ref, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as ChargeWay from "../../src/merchant/ChargeWay.ts"
import type * as Claims from "../../src/merchant/Claims.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import type * as Way from "../../src/merchant/Way.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as ChallengeId from "../../src/wire/mpp/ChallengeId.ts"
import type * as Credential from "../../src/wire/mpp/Credential.ts"
import * as PaymentRequest from "../../src/wire/mpp/PaymentRequest.ts"
import {
  ask,
  challengeOf,
  challengesOf,
  content,
  type Handler,
  outcomeOf,
  present,
  receiptOf,
  secret
} from "./charges.ts"

// ---------------------------------------------------------------------------------------------------------------------
// A method that asks for nothing but a word
// ---------------------------------------------------------------------------------------------------------------------

type Settling = Effect.Effect<string, ChargeWay.Unsettled>

interface Script {
  /** What becomes of each settlement, in order; the last one repeats. */
  readonly settle?: ReadonlyArray<Settling>
  /** Every settlement: what it found. */
  readonly settled?: Array<"fresh" | "owed">
}

const unsettled = (outcome: ChargeWay.Unsettled["outcome"]): Settling =>
  Effect.fail(new ChargeWay.Unsettled({ outcome, detail: "so it goes" }))

const method = (name: string, { settle = [Effect.succeed("0xabc")], settled = [] }: Script): ChargeWay.Method => ({
  name,
  sells: ({ priceUsd }) => priceUsd > 0n,
  requests: ({ externalId, priceUsd }) => [{
    amount: priceUsd.toString(),
    currency: "usd",
    ...(externalId === undefined ? {} : { externalId })
  }],
  verify: ({ payload: { name, word } }) =>
    word === "please"
      ? Effect.succeed({
        source: "did:pkh:eip155:1:0x01",
        name: typeof name === "string" ? name : undefined,
        settle: (found: "fresh" | "owed") =>
          Effect.suspend(() => settle[Math.min(settled.push(found), settle.length) - 1]!)
      })
      : Effect.fail(ChargeWay.refuse("verification-failed", "It is not the word"))
})

const way = (script: Script = {}, options: Partial<ChargeWay.Options> = {}, name = "word") =>
  ChargeWay.make({ secret, ...options }, Effect.succeed(method(name, script)))

const shop = (
  ways: ReadonlyArray<Effect.Effect<Way.Way, never, SecureRandom.SecureRandom>> = [way()],
  options: Partial<Paywall.Options<[]>> = {}
) => Paywall.layer({ ...options, ways }).pipe(Layer.provide(SecureRandom.layerWebCrypto))

const please = { word: "please" }

const challenge = (path?: string, init?: RequestInit) => Effect.map(ask(path, init), challengeOf)

const pay = (challenge: Challenge.Challenge, path?: string, payload: Credential.Credential["payload"] = please) =>
  ask(path, present({ challenge, payload }))

const statusOf = (asked: Effect.Effect<Response, never, Paywall.Paywall>) => Effect.map(asked, ({ status }) => status)

// ---------------------------------------------------------------------------------------------------------------------

describe("a challenge", () => {
  it.effect("is bound to what it asks for, and expires", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const response = yield* ask("/data", {}, { terms: { price: "0.01", description: "One answer" } })
      assert.strictEqual(response.status, 402)
      assert.strictEqual(response.headers.get("cache-control"), "no-store")
      const { id, opaque, ...rest } = challengeOf(response)
      assert.deepStrictEqual(rest, {
        realm: "127.0.0.1:4021",
        method: "word",
        intent: "charge",
        request: PaymentRequest.encode({ amount: "10000", currency: "usd" }),
        expires: "1970-01-01T01:05:00.000Z",
        description: "One answer"
      })
      assert.isTrue(ChallengeId.verify([secret], { id, ...rest, opaque: opaque! }))
    }).pipe(Effect.provide(shop())))

  it.effect("is another one each time, at the same instant too", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* challenge(), yield* challenge()]
      assert.strictEqual(one.expires, other.expires)
      assert.notStrictEqual(one.id, other.id)
    }).pipe(Effect.provide(shop())))

  it.effect("is short, however long the path and the description are", () =>
    Effect.gen(function*() {
      const terms = { price: "0.01", description: "“”".repeat(5_000) }
      const response = yield* ask(`/${"long".repeat(3_000)}`, {}, { terms })
      assert.isBelow(response.headers.get("www-authenticate")!.length, 3_000)
    }).pipe(Effect.provide(shop())))

  it.effect("asks for another field where the resource needs its own authorisation", () =>
    Effect.gen(function*() {
      const headers = { authorization: "Bearer of the application" }
      const asked = yield* challenge("/data", { headers })
      assert.strictEqual(asked.header, "Payment-Authorization")
      const seen = yield* Ref.make<string | undefined>(undefined)
      const handler = Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        yield* Ref.set(seen, request.headers["authorization"])
        return yield* content
      })
      const paid = yield* ask("/data", present({ challenge: asked, payload: please }, { headers }), { handler })
      assert.strictEqual(paid.status, 200)
      assert.strictEqual(yield* Ref.get(seen), "Bearer of the application")
    }).pipe(Effect.provide(shop([way()], { requiresAuth: true }))))

  it("needs a secret of 32 bytes", () => {
    assert.throws(() => way({}, { secret: Redacted.make("x".repeat(31)) }), RangeError)
    assert.throws(() => way({}, { secret: [secret, Redacted.make("")] }), RangeError)
    assert.throws(() => way({}, { secret: [] }), RangeError)
  })

  it("needs a realm that cannot be mistaken for what follows it", () => {
    for (const realm of ["a|b", "", "a\nb"]) assert.throws(() => shop([way()], { realm }), RangeError)
  })
})

describe("a payment", () => {
  it.effect("buys one answer, with a receipt", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const terms = { price: "0.01", externalId: "order-1" }
      const asked = challengeOf(yield* ask("/data", {}, { terms }))
      const paid = yield* ask("/data", present({ challenge: asked, payload: please }), { terms })
      assert.strictEqual(paid.status, 200)
      assert.deepStrictEqual(yield* Effect.promise(() => paid.json()), { secret: 42 })
      assert.strictEqual(paid.headers.get("cache-control"), "private")
      assert.deepStrictEqual(Option.getOrThrow(receiptOf(paid)).members, {
        status: "success",
        method: "word",
        reference: "0xabc",
        timestamp: "1970-01-01T00:00:00.000Z",
        challengeId: asked.id,
        externalId: "order-1"
      })
      const again = yield* ask("/data", present({ challenge: asked, payload: please }), { terms })
      assert.deepStrictEqual(yield* outcomeOf(again), [402, "verification-failed"])
      assert.notStrictEqual(challengeOf(again).id, asked.id)
      assert.isTrue(Option.isNone(receiptOf(again)))
      assert.deepStrictEqual(settled, ["fresh"])
    }).pipe(Effect.provide(shop([way({ settled })])))
  })

  it.effect("buys one answer where it is presented three times at once", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge()
      const copies = Effect.all(Array.from({ length: 3 }, () => statusOf(pay(asked))), { concurrency: "unbounded" })
      const paying = yield* Effect.forkChild(copies)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(paying)).toSorted(), [200, 402, 402])
      assert.deepStrictEqual(settled, ["fresh"])
    }).pipe(Effect.provide(shop([way({ settled, settle: [Effect.delay(Effect.succeed("0x1"), "1 second")] })])))
  })

  it.effect("tells the handler who paid", () =>
    Effect.gen(function*() {
      const seen = yield* Ref.make(Option.none<Paywall.Payment>())
      const handler = Effect.andThen(Effect.flatMap(Paywall.Paid, (paid) => Ref.set(seen, paid)), content)
      const asked = yield* challenge()
      yield* ask("/data", present({ challenge: asked, payload: please }), { handler })
      assert.deepStrictEqual(
        yield* Ref.get(seen),
        Option.some({
          method: "word",
          challengeId: asked.id,
          source: "did:pkh:eip155:1:0x01",
          reference: "0xabc"
        })
      )
    }).pipe(Effect.provide(shop())))

  it.effect("is kept out of shared caches, whatever the handler says", () =>
    Effect.gen(function*() {
      for (
        const [said, sent] of [["public, max-age=60", "private"], ["no-store", "no-store"], [
          "max-age=1, private",
          "max-age=1, private"
        ]] as const
      ) {
        const handler = Effect.map(content, HttpServerResponse.setHeader("cache-control", said))
        const paid = yield* ask("/data", present({ challenge: yield* challenge(), payload: please }), { handler })
        assert.strictEqual(paid.headers.get("cache-control"), sent)
      }
    }).pipe(Effect.provide(shop())))
})

const without = (challenge: Challenge.Challenge, name: "expires" | "opaque"): Challenge.Challenge => {
  const { [name]: _, ...rest } = challenge
  return rest
}

describe("a credential", () => {
  const tampered: ReadonlyArray<
    readonly [
      what: string,
      change: (challenge: Challenge.Challenge) => Challenge.Challenge,
      outcome: readonly [number, string]
    ]
  > = [
    ["of another realm", (it) => ({ ...it, realm: "elsewhere" }), [402, "invalid-challenge"]],
    ["with another id", (it) => ({ ...it, id: it.id.toLowerCase() }), [402, "invalid-challenge"]],
    ["with an id of another length", (it) => ({ ...it, id: "1" }), [402, "invalid-challenge"]],
    ["that lives longer", (it) => ({ ...it, expires: "2099-01-01T00:00:00Z" }), [402, "invalid-challenge"]],
    ["that does not expire", (it) => without(it, "expires"), [402, "invalid-challenge"]],
    ["without its scope", (it) => without(it, "opaque"), [402, "invalid-challenge"]],
    [
      "that asks for less",
      (it) => ({ ...it, request: PaymentRequest.encode({ amount: "1", currency: "usd" }) }),
      [402, "invalid-challenge"]
    ],
    ["with a digest", (it) => ({ ...it, digest: "sha-256=:AAAA:" }), [402, "invalid-challenge"]],
    ["of a method that is not offered", (it) => ({ ...it, method: "stripe" }), [400, "method-unsupported"]],
    ["of an intent that is not offered", (it) => ({ ...it, intent: "session" }), [400, "method-unsupported"]]
  ]
  for (const [what, change, outcome] of tampered) {
    it.effect(`for a challenge ${what} is refused, and nothing is taken`, () => {
      const settled: Array<"fresh" | "owed"> = []
      return Effect.gen(function*() {
        const response = yield* pay(change(yield* challenge()))
        assert.strictEqual(challengesOf(response).length, outcome[0] === 402 ? 1 : 0)
        assert.isTrue(Option.isNone(receiptOf(response)))
        assert.deepStrictEqual(yield* outcomeOf(response), outcome)
        assert.deepStrictEqual(settled, [])
      }).pipe(Effect.provide(shop([way({ settled })])))
    })
  }

  it.effect("is good with another description: that is for people", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* statusOf(pay({ ...yield* challenge(), description: "A gift" })), 200)
    }).pipe(Effect.provide(shop())))

  it.effect("pays for its own route and method alone, with whatever query", () =>
    Effect.gen(function*() {
      const asked = yield* challenge("/cheap?a=1")
      assert.deepStrictEqual(yield* outcomeOf(yield* pay(asked, "/dear")), [402, "invalid-challenge"])
      const post = yield* ask("/cheap", present({ challenge: asked, payload: please }, { method: "POST" }))
      assert.deepStrictEqual(yield* outcomeOf(post), [402, "invalid-challenge"])
      assert.strictEqual(yield* statusOf(pay(asked, "/cheap?a=2")), 200)
    }).pipe(Effect.provide(shop())))

  it.effect("is refused once its challenge has expired", () =>
    Effect.gen(function*() {
      const asked = yield* challenge()
      yield* TestClock.adjust("5 minutes")
      const response = yield* pay(asked)
      assert.isAbove(Date.parse(challengeOf(response).expires!), Date.parse(asked.expires!))
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "payment-expired"])
    }).pipe(Effect.provide(shop())))

  it.effect("is refused where the price has changed meanwhile", () =>
    Effect.gen(function*() {
      const init = present({ challenge: yield* challenge(), payload: please })
      const response = yield* ask("/data", init, { terms: { price: "0.02" } })
      assert.deepStrictEqual(yield* outcomeOf(response), [402, "invalid-challenge"])
    }).pipe(Effect.provide(shop())))

  it.effect("is good under an older secret that is still listed, and under no other", () =>
    Effect.gen(function*() {
      const old = Redacted.make("old".repeat(12))
      const issue = (secret: ChargeWay.Options["secret"]) => Effect.provide(challenge(), shop([way({}, { secret })]))
      const rotated = shop([way({}, { secret: [secret, old] })])
      assert.strictEqual(yield* Effect.provide(statusOf(pay(yield* issue(old))), rotated), 200)
      assert.strictEqual(yield* Effect.provide(statusOf(pay(yield* issue(secret))), rotated), 200)
      const strange = yield* issue(Redacted.make("strange".repeat(6)))
      assert.strictEqual(yield* Effect.provide(statusOf(pay(strange)), rotated), 402)
      assert.isTrue(ChallengeId.verify([secret], yield* Effect.provide(challenge(), rotated)))
    }))

  it.effect("that cannot be read is answered with 402 and a challenge, and never breaks anything", () =>
    Effect.gen(function*() {
      const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
      const asked = yield* challenge()
      const hostile = [
        "Payment",
        "Payment a b",
        "Payment %%%",
        `Payment ${"a".repeat(70_000)}`,
        `Payment ${encode({ challenge: {}, payload: {} })}`,
        `Payment ${encode({ challenge: asked, payload: [] })}`,
        `Payment ${encode({ challenge: { ...asked, request: {} }, payload: {} })}`,
        `Payment ${encode({ challenge: { ...asked, header: "Cookie" }, payload: {} })}`,
        "Payment a-token-of-some-session-or-other"
      ]
      for (const authorization of hostile) {
        const response = yield* ask("/data", { headers: { authorization } })
        challengeOf(response)
        assert.deepStrictEqual(yield* outcomeOf(response), [402, "malformed-credential"], authorization.slice(0, 60))
      }
    }).pipe(Effect.provide(shop())))

  it.effect("must be the only one of its request", () =>
    Effect.gen(function*() {
      const credential = { challenge: yield* challenge(), payload: please }
      const { authorization } = present(credential).headers as Record<string, string>
      const several = [
        { authorization: `${authorization}, ${authorization}` },
        { authorization: authorization!, "payment-authorization": authorization! },
        { authorization: "Payment, payment\ta" }
      ]
      for (const headers of several) {
        assert.deepStrictEqual(yield* outcomeOf(yield* ask("/data", { headers })), [400, "bad-request"])
      }
      assert.strictEqual(yield* statusOf(ask("/data", present(credential))), 200)
    }).pipe(Effect.provide(shop())))
})

describe("a request with a body", () => {
  const post = (body: string, contentType = "application/json"): RequestInit => ({
    method: "POST",
    body,
    headers: { "content-type": contentType }
  })

  it.effect("is paid for with that body alone", () =>
    Effect.gen(function*() {
      const asked = yield* challenge("/data", post(`{"a":1}`))
      assert.match(asked.digest ?? "", /^sha-256=:.{44}:$/)
      const credential = { challenge: asked, payload: please }
      for (const init of [post(`{"a":2}`), post(""), { method: "POST" }]) {
        assert.deepStrictEqual(
          yield* outcomeOf(yield* ask("/data", present(credential, init))),
          [402, "verification-failed"]
        )
      }
      assert.strictEqual(yield* statusOf(ask("/data", present(credential, post(`{"a":1}`)))), 200)
    }).pipe(Effect.provide(shop())))

  it.effect("is handed to the handler in whatever form it is read", () =>
    Effect.gen(function*() {
      const readers: ReadonlyArray<(request: HttpServerRequest.HttpServerRequest) => Effect.Effect<string, unknown>> = [
        (request) => request.text,
        (request) => Effect.map(request.json, (json) => JSON.stringify(json)),
        (request) => Stream.mkString(Stream.decodeText(request.stream))
      ]
      for (const read of readers) {
        const handler: Handler = Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (request) => Effect.orDie(Effect.map(read(request), (text) => HttpServerResponse.text(text)))
        )
        const asked = yield* challenge("/data", post(`{"a":1}`))
        const init = present({ challenge: asked, payload: please }, post(`{"a":1}`))
        const response = yield* ask("/data", init, { handler })
        assert.strictEqual(yield* Effect.promise(() => response.text()), `{"a":1}`)
      }
    }).pipe(Effect.provide(shop())))

  it.effect("is sold without a digest where it is too long, or a form of several parts", () =>
    Effect.gen(function*() {
      const long = post("a".repeat(1024 * 1024 + 1))
      const form = {
        method: "POST",
        body: "--b\r\n\r\n1\r\n--b--",
        headers: { "content-type": "multipart/form-data; boundary=b" }
      }
      for (const init of [long, form]) {
        const asked = yield* challenge("/data", init)
        assert.isUndefined(asked.digest)
        assert.strictEqual(yield* statusOf(ask("/data", present({ challenge: asked, payload: please }, init))), 200)
      }
    }).pipe(Effect.provide(shop())))
})

describe("money that may have moved", () => {
  it.effect("is never demanded again, and buys its answer once it is known", () => {
    const settled: Array<"fresh" | "owed"> = []
    const script = { settled, settle: [unsettled("unknown"), unsettled("unavailable"), Effect.succeed("0x1")] }
    return Effect.gen(function*() {
      const asked = yield* challenge()
      for (const retryAfter of ["2", "5"]) {
        const response = yield* pay(asked)
        assert.strictEqual(response.headers.get("retry-after"), retryAfter)
        assert.deepStrictEqual(challengesOf(response), [])
        assert.deepStrictEqual(yield* outcomeOf(response), [503, "internal-payment-error"])
      }
      assert.deepStrictEqual([yield* statusOf(pay(asked)), yield* statusOf(pay(asked))], [200, 402])
      assert.deepStrictEqual(settled, ["fresh", "owed", "owed"])
    }).pipe(Effect.provide(shop([way(script)])))
  })

  it.effect("is free again once it is known that it did not", () => {
    const settled: Array<"fresh" | "owed"> = []
    const script = { settled, settle: [unsettled("unknown"), unsettled("failed"), Effect.succeed("0x1")] }
    return Effect.gen(function*() {
      const asked = yield* challenge()
      assert.strictEqual(yield* statusOf(pay(asked)), 503)
      const failed = yield* pay(asked)
      assert.notStrictEqual(challengeOf(failed).id, asked.id)
      assert.deepStrictEqual(yield* outcomeOf(failed), [402, "verification-failed"])
      assert.strictEqual(yield* statusOf(pay(asked)), 200)
      assert.deepStrictEqual(settled, ["fresh", "owed", "fresh"])
    }).pipe(Effect.provide(shop([way(script)])))
  })

  it.effect("was not taken where nobody could be asked, and is taken later", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge()
      const response = yield* pay(asked)
      assert.deepStrictEqual(challengesOf(response), [])
      assert.deepStrictEqual([response.status, yield* statusOf(pay(asked))], [503, 200])
      assert.deepStrictEqual(settled, ["fresh", "fresh"])
    }).pipe(Effect.provide(shop([way({ settled, settle: [unsettled("unavailable"), Effect.succeed("0x1")] })])))
  })

  it.effect("is owed where the settlement broke", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge()
      const broken = yield* Effect.exit(pay(asked))
      assert.isTrue(broken._tag === "Failure" && Cause.hasDies(broken.cause))
      assert.strictEqual(yield* statusOf(pay(asked)), 200)
      assert.deepStrictEqual(settled, ["fresh", "owed"])
    }).pipe(Effect.provide(shop([way({ settled, settle: [Effect.die("broken"), Effect.succeed("0x1")] })])))
  })

  it.effect("is owed where the handler answered with an error, which has no receipt", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const init = present({ challenge: yield* challenge(), payload: please })
      for (const status of [404, 500]) {
        const handler = Effect.succeed(HttpServerResponse.empty({ status }))
        const response = yield* ask("/data", init, { handler })
        assert.strictEqual(response.status, status)
        assert.isTrue(Option.isNone(receiptOf(response)))
      }
      yield* Effect.exit(ask("/data", init, { handler: Effect.die("broken") }))
      assert.deepStrictEqual([yield* statusOf(ask("/data", init)), yield* statusOf(ask("/data", init))], [200, 402])
      assert.deepStrictEqual(settled, ["fresh", "owed", "owed", "owed"])
    }).pipe(Effect.provide(shop([way({ settled })])))
  })

  it.effect("is owed to an asker who went away meanwhile", () => {
    const settled: Array<"fresh" | "owed"> = []
    const script = { settled, settle: [Effect.delay(Effect.succeed("0x1"), "1 second")] }
    return Effect.gen(function*() {
      const asked = yield* challenge()
      const asker = yield* Effect.forkChild(pay(asked), { startImmediately: true })
      const leaving = yield* Effect.forkChild(Fiber.interrupt(asker), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(leaving)
      const paying = yield* Effect.forkChild(statusOf(pay(asked)), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(paying), 200)
      assert.deepStrictEqual(settled, ["fresh", "owed"])
    }).pipe(Effect.provide(shop([way(script)])))
  })

  it.effect("buys its answer after its challenge has expired and at whatever price, but nothing else", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge("/cheap")
      const init = present({ challenge: asked, payload: please })
      assert.strictEqual(yield* statusOf(ask("/cheap", init)), 503)
      yield* TestClock.adjust("50 minutes")
      assert.strictEqual(yield* statusOf(ask("/dear", init)), 402)
      assert.strictEqual(yield* statusOf(ask("/cheap", init, { terms: { price: "0.02" } })), 200)
      assert.strictEqual(yield* statusOf(ask("/cheap", init)), 402)
      assert.deepStrictEqual(settled, ["fresh", "owed"])
    }).pipe(Effect.provide(shop([way({ settled, settle: [unsettled("unknown"), Effect.succeed("0x1")] })])))
  })

  it.effect("buys no other query and no other body at their price: what is dearer may be told by them", () =>
    Effect.gen(function*() {
      const dear = { terms: { price: "5" } }
      const asked = yield* challenge("/data?size=small", { method: "POST" })
      const post = (body?: string) =>
        present({ challenge: asked, payload: please }, { method: "POST", ...(body === undefined ? {} : { body }) })
      assert.strictEqual(yield* statusOf(ask("/data?size=small", post())), 503)
      const others = [["/data?size=big", post()], ["/data", post()], ["/data?size=small", post("much")]] as const
      for (const [path, init] of others) {
        assert.deepStrictEqual(yield* outcomeOf(yield* ask(path, init, dear)), [402, "invalid-challenge"])
      }
      assert.strictEqual(yield* statusOf(ask("/data?size=small", post(), dear)), 200)
    }).pipe(Effect.provide(shop([way({ settle: [unsettled("unknown"), Effect.succeed("0x1")] })]))))

  it.effect("is not taken for another price where it stopped being owed meanwhile", () => {
    const settled: Array<"fresh" | "owed"> = []
    const claims: Claims.Claims = {
      look: () => Effect.succeed("owed"),
      take: () => Effect.succeed("fresh"),
      leave: () => Effect.void
    }
    return Effect.gen(function*() {
      const init = present({ challenge: yield* challenge(), payload: please })
      assert.strictEqual(yield* statusOf(ask("/data", init, { terms: { price: "5" } })), 402)
      assert.deepStrictEqual(settled, [])
      assert.strictEqual(yield* statusOf(ask("/data", init)), 200)
    }).pipe(Effect.provide(shop([way({ settled }, { claims: Effect.succeed(claims) })])))
  })

  it.effect("is not joined by that of a second payment for the same challenge", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge()
      const first = { ...please, name: "tx/1" }
      assert.strictEqual(yield* statusOf(pay(asked, "/data", first)), 503)
      assert.strictEqual(yield* statusOf(pay(asked, "/data", { ...please, name: "tx/2" })), 402)
      assert.deepStrictEqual(settled, ["fresh"])
      assert.strictEqual(yield* statusOf(pay(asked, "/data", first)), 200)
    }).pipe(Effect.provide(shop([way({ settled, settle: [unsettled("unknown"), Effect.succeed("0x1")] })])))
  })

  it.effect("pays for one challenge, and for no second one", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const payment = { ...please, name: "tx/1" }
      const [one, other] = [yield* challenge(), yield* challenge()]
      assert.strictEqual(yield* statusOf(pay(one, "/data", payment)), 200)
      assert.strictEqual(yield* statusOf(pay(other, "/data", payment)), 402)
      assert.deepStrictEqual(settled, ["fresh"])
      assert.strictEqual(yield* statusOf(pay(other, "/data", { ...please, name: "tx/2" })), 200)
    }).pipe(Effect.provide(shop([way({ settled })])))
  })

  it.effect("is not called owed by who presents a payment that does not verify", () => {
    const settled: Array<"fresh" | "owed"> = []
    return Effect.gen(function*() {
      const asked = yield* challenge()
      assert.strictEqual(yield* statusOf(pay(asked)), 503)
      const forged = yield* pay(asked, "/data", { word: "now" })
      assert.deepStrictEqual(yield* outcomeOf(forged), [402, "verification-failed"])
      assert.deepStrictEqual([yield* statusOf(pay(asked)), settled], [200, ["fresh", "owed"]])
    }).pipe(Effect.provide(shop([way({ settled, settle: [unsettled("unknown"), Effect.succeed("0x1")] })])))
  })

  it.effect("blocks nobody while it is verified", () =>
    Effect.gen(function*() {
      const verifying = yield* Deferred.make<void>()
      const slow = Effect.succeed<ChargeWay.Method>({
        ...method("word", {}),
        verify: (credential) =>
          credential.payload["word"] === "slow"
            ? Effect.andThen(Deferred.succeed(verifying, undefined), Effect.never)
            : method("word", {}).verify(credential)
      })
      yield* Effect.gen(function*() {
        const asked = yield* challenge()
        yield* Effect.forkChild(pay(asked, "/data", { word: "slow" }))
        yield* Deferred.await(verifying)
        assert.strictEqual(yield* statusOf(pay(asked)), 200)
      }).pipe(Effect.provide(shop([ChargeWay.make({ secret }, slow)])))
    }))
})

describe("a demand of several methods", () => {
  const several = shop([way({}, {}, "one"), way({}, {}, "two"), way({}, {}, "three")])
  const methods = (accept?: string) =>
    Effect.map(
      ask("/data", accept === undefined ? {} : { headers: { "accept-payment": accept } }),
      (response) => challengesOf(response).map(({ method }) => method)
    ).pipe(Effect.provide(several))

  it.effect("has one challenge of each, which can be read one by one", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* methods(), ["one", "two", "three"])
      for (const { method, ...rest } of challengesOf(yield* Effect.provide(ask(), several))) {
        assert.strictEqual(yield* statusOf(pay({ method, ...rest })).pipe(Effect.provide(several)), 200)
      }
    }))

  it.effect("may have two ways of one method, each of which takes its own", () => {
    const other = Redacted.make("other".repeat(8))
    return Effect.gen(function*() {
      const asked = challengesOf(yield* ask())
      assert.strictEqual(asked.length, 2)
      for (const challenge of asked) {
        assert.deepStrictEqual([yield* statusOf(pay(challenge)), yield* statusOf(pay(challenge))], [200, 402])
      }
      const strange = yield* pay({ ...asked[0]!, id: asked[1]!.id })
      assert.deepStrictEqual(yield* outcomeOf(strange), [402, "invalid-challenge"])
    }).pipe(Effect.provide(shop([way(), way({}, { secret: other })])))
  })

  const preferences = [
    ["three/charge, one/charge;q=0.5", ["three", "one"]],
    ["one/*, one/charge;q=0, */*;q=0.1", ["two", "three"]],
    ["*/*", ["one", "two", "three"]],
    ["two/charge;q=0.2, three/charge;q=0.2, one/charge;q=0.1", ["two", "three", "one"]],
    ["stripe/charge", ["one", "two", "three"]],
    ["", ["one", "two", "three"]],
    ["nonsense;;", ["one", "two", "three"]]
  ] as const
  for (const [accept, expected] of preferences) {
    it.effect(`has what is accepted by "${accept}", the best liked first`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* methods(accept), [...expected])
      }))
  }
})

describe("a price of nothing", () => {
  it.effect("is for no way that cannot prove an account", () =>
    Effect.gen(function*() {
      const response = yield* ask("/data", {}, { terms: { price: "0" } })
      assert.deepStrictEqual(yield* outcomeOf(response), [500, "internal-payment-error"])
    }).pipe(Effect.provide(shop())))
})
