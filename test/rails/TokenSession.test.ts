import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { sessionUsdc } from "../../src/Asset.ts"
import { Offer } from "../../src/Offer.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Rails from "../../src/Rails.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as Transport from "../../src/Transport.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"

const secret = "tempo_live_SECRETcredential"
const token = "mpps_SECRETtokenSECRETtokenSECRETtoken"
const endpoint = "https://pay.example/session"
const origin = "https://api.example.com"
const realm = "api.example.com"

// ---------------------------------------------------------------------------------------------------------------------
// A scripted session endpoint
// ---------------------------------------------------------------------------------------------------------------------

interface Call {
  readonly method: string
  readonly url: string
  readonly headers: { readonly [name: string]: string }
  readonly body: Schema.Json | undefined
}

type Reply = (() => Response) | "hangs" | "reset" | "refused"

const lost = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code, syscall: "connect" }) })
    })
  })

/** Answers the n-th request with the n-th reply, and then always with the last one. */
const scripted = (...replies: readonly [Reply, ...ReadonlyArray<Reply>]) => {
  const calls: Array<Call> = []
  const client = HttpClient.make((request, url) =>
    Effect.suspend(() => {
      const reply = replies[Math.min(calls.length, replies.length - 1)]!
      calls.push({
        method: request.method,
        url: url.href,
        headers: request.headers,
        body: request.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : undefined
      })
      return reply === "hangs"
        ? Effect.never
        : reply === "reset"
        ? Effect.fail(lost(request, "ECONNRESET"))
        : reply === "refused"
        ? Effect.fail(lost(request, "ECONNREFUSED"))
        : Effect.succeed(HttpClientResponse.fromWeb(request, reply()))
    })
  )
  return { calls, layer: Layer.succeed(Transport.Transport, Transport.make(client)) }
}

const json = (status: number, body: Schema.Json, headers: { readonly [name: string]: string } = {}) => () =>
  new Response(JSON.stringify(body), { status, headers })

const granted = {
  sessionId: "sess_1",
  sessionToken: token,
  spendingLimitUsdc: "1.00",
  expiresAt: "1970-01-01T01:00:00Z",
  audience: origin
}

const standing = (spentUsdc: string, status = "open") => ({
  spentUsdc,
  remainingUsdc: status === "open" ? "0.50" : "0",
  status
})

// ---------------------------------------------------------------------------------------------------------------------
// The rail
// ---------------------------------------------------------------------------------------------------------------------

const railOf = (options: Partial<TokenSession.Options> = {}) =>
  Effect.gen(function*() {
    const rails = yield* Rails.Rails
    yield* Effect.scoped(Layer.build(TokenSession.layer({
      credential: Redacted.make(secret),
      origins: [origin],
      endpoint,
      ...options
    })))
    const [rail] = yield* rails.all
    const session = Option.getOrThrow(rail!.session)
    return { rail: rail!, session }
  }).pipe(Effect.provide(Rails.Rails.layer))

const offerOf = (challenge: Partial<SeedChallenge.SeedChallenge> = {}) => {
  const whole = { id: "c_1", realm, priceUsdc: 10_000n, payee: "acct_1", ...challenge }
  return new Offer({
    protocol: "mpp/1.0",
    intent: "session",
    method: "token",
    network: sessionUsdc.network,
    asset: sessionUsdc.address,
    units: whole.priceUsdc,
    payee: whole.payee,
    realm: whole.realm,
    wire: { challenge: SeedChallenge.encode(whole) }
  })
}

const context = { origin, purchase: "ses_1", agent: "tester" }

const opening = {
  ...context,
  limit: 1_000_000n,
  validityMillis: 3_600_000,
  idempotencyKey: "aut_1",
  resource: { method: "GET", url: "https://data.example.com/data" }
}

/** The authority of token sessions keeps the books. */
const undrawn: Rails.Drawn = { limit: 0n, spent: 0n, reserved: 0n }

/** Runs to the end while the clock goes on. */
const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(effect))
    yield* TestClock.adjust("10 minutes")
    return yield* yield* Fiber.join(fiber)
  })

/** Opens a session, or fails as the opening does. */
const establish = Effect.fnUntraced(function*(options: Partial<TokenSession.Options> = {}) {
  const made = yield* railOf(options)
  const plan = yield* made.session.planOpen(offerOf(), opening)
  const handle = yield* made.session.establish(plan)
  return { ...made, plan, handle }
})

const refusalOf = (
  offer: Offer,
  at = origin,
  options: Partial<TokenSession.Options> = {}
) => {
  const endpoint = scripted(json(500, {}))
  return railOf(options).pipe(
    Effect.map(({ rail }) => rail.accepts(offer, at)),
    Effect.map(Result.match({ onSuccess: () => "accepted", onFailure: ({ rule, why }) => rule ?? why })),
    Effect.tap(() => Effect.sync(() => assert.strictEqual(endpoint.calls.length, 0))),
    Effect.provide(endpoint.layer)
  )
}

describe("TokenSession.accepts", () => {
  it.effect("takes a challenge whose realm is the host, with or without port and in any case", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refusalOf(offerOf()), "accepted")
      assert.strictEqual(yield* refusalOf(offerOf({ realm: "API.example.com:443" })), "accepted")
      const local = "http://127.0.0.1:4021"
      for (const name of ["127.0.0.1", "127.0.0.1:4021"]) {
        assert.strictEqual(yield* refusalOf(offerOf({ realm: name }), local, { origins: [local] }), "accepted")
      }
      assert.strictEqual(
        yield* refusalOf(offerOf({ realm: "127.0.0.1:80" }), local, { origins: [local] }),
        "realm-mismatch"
      )
    }))

  it.effect("refuses another site's challenge (one that was relayed)", () =>
    Effect.gen(function*() {
      const evil = "https://evil.example"
      assert.strictEqual(yield* refusalOf(offerOf(), evil, { origins: [origin, evil] }), "realm-mismatch")
      assert.strictEqual(yield* refusalOf(offerOf(), evil, { origins: ["*"] }), "realm-mismatch")
      for (
        const realm of ["example.com", "evil-api.example.com", "api.example.com.evil.example", "api.example.com@evil"]
      ) {
        assert.notStrictEqual(yield* refusalOf(offerOf({ realm })), "accepted")
      }
    }))

  it.effect("takes the realm that was listed for the origin, and for that origin only", () =>
    Effect.gen(function*() {
      const origins = [
        "https://data.example.com=example data",
        { origin: "https://b.example.com", realm: "other" },
        origin
      ]
      const offer = offerOf({ realm: "example data" })
      assert.strictEqual(yield* refusalOf(offer, "https://data.example.com", { origins }), "accepted")
      assert.strictEqual(
        yield* refusalOf(offerOf({ realm: "other" }), "https://b.example.com", { origins }),
        "accepted"
      )
      assert.strictEqual(yield* refusalOf(offer, origin, { origins }), "realm-mismatch")
    }))

  it.effect("refuses an offer whose challenge says another realm than its header", () =>
    Effect.gen(function*() {
      const honest = offerOf()
      const mixed = new Offer({ ...offerOf({ realm: "other.example" }), realm: honest.realm! })
      assert.strictEqual(yield* refusalOf(mixed), "realm-mismatch")
      const reversed = new Offer({ ...honest, realm: "other.example" })
      assert.strictEqual(yield* refusalOf(reversed), "realm-mismatch")
    }))

  it.effect("is on for listed origins only", () =>
    Effect.gen(function*() {
      const other = "https://other.example"
      const offer = offerOf({ realm: "other.example" })
      assert.match(yield* refusalOf(offer, other), /not listed/)
      assert.match(yield* refusalOf(offerOf(), "https://api.example.com:8443"), /not listed/)
      assert.strictEqual(yield* refusalOf(offer, other, { origins: ["*"] }), "accepted")
    }))

  it.effect("refuses a resource or a payee of another host", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refusalOf(offerOf({ resource: "http://api.example.com/v1/data?x=1" })), "accepted")
      assert.strictEqual(yield* refusalOf(offerOf({ resource: "/v1/data" })), "accepted")
      assert.strictEqual(yield* refusalOf(offerOf({ resource: "https://evil.example/v1/data" })), "realm-mismatch")
      assert.strictEqual(yield* refusalOf(offerOf({ resource: "//evil.example/v1" })), "realm-mismatch")
      assert.strictEqual(yield* refusalOf(offerOf({ resource: "https://[" })), "realm-mismatch")
      assert.strictEqual(yield* refusalOf(offerOf({ payee: "https://evil.example" })), "realm-mismatch")
      assert.strictEqual(yield* refusalOf(offerOf({ payee: "https://api.example.com" })), "accepted")
    }))

  it.effect("uses a session endpoint that the challenge names only if it is the configured one", () =>
    Effect.gen(function*() {
      for (const same of [endpoint, "HTTPS://PAY.example:443/session"]) {
        assert.strictEqual(yield* refusalOf(offerOf({ sessionEndpoint: same })), "accepted")
      }
      for (
        const other of [
          "https://pay.example/session2",
          "https://pay.example/session/",
          "https://pay.example/",
          "https://pay.example:8443/session",
          "http://pay.example/session",
          "https://user@pay.example/session",
          "https://user:word@pay.example/session",
          "https://pay.example/session?to=1",
          "https://pay.example.evil.example/session",
          "https://evil.example/session",
          "//pay.example/session",
          "not a url"
        ]
      ) assert.strictEqual(yield* refusalOf(offerOf({ sessionEndpoint: other })), "session-endpoint", other)
    }))

  it.effect("refuses plain HTTP beyond this machine, and what is no token session", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refusalOf(offerOf(), "http://api.example.com"), "plain-http")
      assert.match(yield* refusalOf(new Offer({ ...offerOf(), protocol: "mpp" })), /not a token session/)
      assert.match(yield* refusalOf(new Offer({ ...offerOf(), wire: { challenge: "%%%" } })), /cannot be read/)
      assert.match(yield* refusalOf(new Offer({ ...offerOf(), wire: null })), /cannot be read/)
    }))
})

describe("TokenSession.establish", () => {
  it.effect("posts the plan with the account's credential and answers a handle without a secret", () => {
    const server = scripted(json(201, granted))
    return Effect.gen(function*() {
      const { handle, plan } = yield* establish()
      assert.deepInclude(plan, {
        rail: "mpp/token-session",
        kind: "open",
        units: 1_000_000n,
        network: "mpp:session",
        payer: endpoint,
        payee: "acct_1",
        spendableUntil: 3_660_000
      })
      assert.deepInclude(handle, { wireId: "sess_1", limit: 1_000_000n, expiresAt: 3_600_000 })
      assert.deepStrictEqual(handle.data, { endpoint, audience: origin, realm })
      const [call] = server.calls
      assert.strictEqual(server.calls.length, 1)
      assert.deepInclude(call, { method: "POST", url: endpoint })
      assert.strictEqual(call!.headers["authorization"], `Bearer ${secret}`)
      assert.strictEqual(call!.headers["idempotency-key"], "aut_1")
      assert.deepStrictEqual(call!.body, {
        challenge: SeedChallenge.encode({ id: "c_1", realm, priceUsdc: 10_000n, payee: "acct_1" }),
        audience: origin,
        spendingLimitUsdc: "1.00",
        validitySeconds: 3600,
        agentId: "tester"
      })
      const encode = Schema.encodeSync(Schema.toCodecJson(Schema.Tuple([Rails.Plan, Rails.SessionHandle])))
      assert.notInclude(JSON.stringify(encode([plan, handle])), "SECRET")
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("names the agent as the options say", () => {
    const server = scripted(json(201, granted))
    return Effect.gen(function*() {
      yield* establish({ agentId: "crawler-7" })
      assert.propertyVal(server.calls[0]!.body, "agentId", "crawler-7")
    }).pipe(Effect.provide(server.layer))
  })

  for (const first of ["hangs", "reset", json(503, {}), json(500, {}, { "retry-after": "2" })] as const) {
    const what = typeof first === "function" ? `HTTP ${first().status}` : first
    it.effect(`repeats the same key when the first answer is lost (${what})`, () => {
      const server = scripted(first, json(201, granted))
      return Effect.gen(function*() {
        const { handle } = yield* patiently(establish())
        assert.strictEqual(handle.wireId, "sess_1")
        assert.deepStrictEqual(server.calls.map(({ headers }) => headers["idempotency-key"]), ["aut_1", "aut_1"])
        assert.deepStrictEqual(server.calls[0]!.body, server.calls[1]!.body)
      }).pipe(Effect.provide(server.layer))
    })
  }

  it.effect("gives up after a bounded number of tries", () => {
    const server = scripted(json(503, {}, { "retry-after": "7" }))
    return Effect.gen(function*() {
      const error = yield* Effect.flip(patiently(establish()))
      assert.deepInclude(error, { service: "session endpoint", status: 503, retryAfter: 7000, notSent: false })
      assert.strictEqual(server.calls.length, 5)
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("says that nothing was sent only if no attempt may have left", () =>
    Effect.gen(function*() {
      const never = scripted("refused")
      const error = yield* Effect.flip(establish()).pipe(Effect.provide(never.layer))
      assert.propertyVal(error, "notSent", true)
      assert.strictEqual(never.calls.length, 1)
      const once = scripted("reset", "refused")
      const later = yield* Effect.flip(patiently(establish())).pipe(Effect.provide(once.layer))
      assert.propertyVal(later, "notSent", false)
    }))

  it.effect("never follows a redirect with the credential", () => {
    const server = scripted(() =>
      new Response(null, { status: 307, headers: { location: "https://evil.example/session" } })
    )
    return Effect.gen(function*() {
      const error = yield* Effect.flip(establish())
      assert.strictEqual(error._tag, "ProtocolError")
      assert.deepStrictEqual(server.calls.map(({ url }) => url), [endpoint])
    }).pipe(Effect.provide(server.layer))
  })

  const breaches: ReadonlyArray<readonly [string, Schema.Json]> = [
    ["a higher limit", { ...granted, spendingLimitUsdc: "2.00" }],
    ["a longer validity", { ...granted, expiresAt: "1970-01-01T01:01:01Z" }],
    ["a validity in the past", { ...granted, expiresAt: "1970-01-01T00:00:00Z" }],
    ["another audience", { ...granted, audience: "https://evil.example" }],
    ["a token with a line break", { ...granted, sessionToken: `${token}\r\nx-evil: 1` }],
    ["a token with odd characters", { ...granted, sessionToken: `${token}\u00e9` }],
    ["a token of a megabyte", { ...granted, sessionToken: "x".repeat(1_000_000) }],
    ["a token that is too long", { ...granted, sessionToken: "x".repeat(5_000) }],
    ["a limit that is no decimal", { ...granted, spendingLimitUsdc: "1e0" }],
    ["no expiry", { sessionId: "sess_1", sessionToken: token, spendingLimitUsdc: "1.00" }]
  ]
  for (const [what, answer] of breaches) {
    it.effect(`closes the session and fails when it is granted ${what}`, () => {
      const server = scripted(json(201, answer), json(200, standing("0", "closed")))
      return Effect.gen(function*() {
        const { rail, session } = yield* railOf()
        const error = yield* Effect.flip(session.establish(yield* session.planOpen(offerOf(), opening)))
        assert.strictEqual(error._tag, "ProtocolError")
        assert.notInclude(error.message, token)
        const sent = server.calls.map(({ method, url }) => `${method} ${url}`)
        // of a body over the cap nothing is read, its id neither
        assert.deepStrictEqual(
          sent,
          what.endsWith("megabyte") ? [`POST ${endpoint}`] : [
            `POST ${endpoint}`,
            `DELETE ${endpoint}/sess_1`
          ]
        )
        const handle = new Rails.SessionHandle({ wireId: "sess_1", limit: 1n, expiresAt: 1, data: null })
        assert.strictEqual(
          (yield* Effect.flip(rail.sign(session.planDraw(handle, offerOf(), undrawn))))._tag,
          "WalletError"
        )
      }).pipe(Effect.provide(server.layer))
    })
  }

  for (const sessionId of ["../x", "..", ".", "a/b", "a?b", "a b", "a\r\nb", "x".repeat(200), "", 7, null]) {
    it.effect(`builds no request from the session id ${JSON.stringify(sessionId).slice(0, 20)}`, () => {
      const server = scripted(json(201, { ...granted, sessionId }), json(200, standing("0", "closed")))
      return Effect.gen(function*() {
        const error = yield* Effect.flip(establish())
        assert.strictEqual(error._tag, "ProtocolError")
        assert.strictEqual(server.calls.length, 1)
      }).pipe(Effect.provide(server.layer))
    })
  }

  it.effect("accepts less than it asked for", () => {
    const server = scripted(json(200, { ...granted, spendingLimitUsdc: "0.5", expiresAt: "1970-01-01T00:10:00+00:00" }))
    return Effect.gen(function*() {
      const { handle } = yield* establish()
      assert.deepInclude(handle, { limit: 500_000n, expiresAt: 600_000 })
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("tells refusals, rate limits and nonsense apart", () =>
    Effect.gen(function*() {
      const failure = (reply: Reply) => Effect.flip(establish()).pipe(Effect.provide(scripted(reply).layer))
      const problem = { type: "urn:mpp:session:insufficient-balance", detail: `you sent ${secret}` }
      assert.deepInclude(yield* failure(json(402, problem)), {
        _tag: "PaymentRejected",
        status: 402,
        problem: "insufficient-balance"
      })
      assert.deepInclude(yield* failure(json(403, { type: `urn:mpp:session:${secret}` })), { problem: "unspecified" })
      assert.deepInclude(yield* failure(json(429, {}, { "retry-after": "3" })), {
        _tag: "RateLimited",
        retryAfter: 3000
      })
      assert.strictEqual((yield* failure(() => new Response("<html>", { status: 200 })))._tag, "ProtocolError")
      assert.strictEqual((yield* failure(() => new Response(null, { status: 204 })))._tag, "ProtocolError")
    }))

  it.effect("takes a refusal for proof only if every earlier attempt was answered", () =>
    Effect.gen(function*() {
      const failure = (...replies: readonly [Reply, ...ReadonlyArray<Reply>]) =>
        Effect.flip(patiently(establish())).pipe(Effect.provide(scripted(...replies).layer))
      const limited = json(429, {}, { "retry-after": "3" })
      assert.deepInclude(yield* failure(json(503, {}), limited), { _tag: "RateLimited", retryAfter: 3000 })
      assert.deepInclude(yield* failure(json(503, {}), json(403, {})), { _tag: "PaymentRejected", status: 403 })
      for (const lost of ["reset", "hangs", json(408, {}), json(502, {}), json(504, {})] as const) {
        for (const [status, refusal] of [[429, limited], [403, json(403, {})]] as const) {
          assert.deepInclude(yield* failure(lost, refusal), { _tag: "Unavailable", status, notSent: false })
        }
      }
    }))

  it.effect("refuses a plan that was written for another endpoint", () => {
    const server = scripted(json(201, granted))
    return Effect.gen(function*() {
      const { session } = yield* railOf({ endpoint: "https://other.example/session" })
      const plan = yield* session.planOpen(offerOf(), opening)
      const { session: mine } = yield* railOf()
      assert.strictEqual((yield* Effect.flip(mine.establish(plan)))._tag, "ProtocolError")
      assert.strictEqual(server.calls.length, 0)
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("plans no session for an offer that it does not accept", () =>
    Effect.gen(function*() {
      const { rail, session } = yield* railOf()
      const relayed = yield* Effect.flip(session.planOpen(offerOf({ realm: "evil.example" }), opening))
      assert.deepInclude<object>(relayed, { rule: "realm-mismatch" })
      const alone = yield* Effect.flip(rail.plan(offerOf(), context))
      assert.isTrue(alone._tag === "PolicyDenied" && alone.rule === "session-only")
    }).pipe(Effect.provide(scripted(json(500, {})).layer)))
})

describe("TokenSession.judge", () => {
  const price = 10_000n
  const challenge = { "www-authenticate": SeedChallenge.format({ id: "c_1", realm, priceUsdc: price }) }
  const receipt = (amount: bigint, sessionId = "sess_1") => ({
    "payment-receipt": Receipt.encodeSeed({ sessionId, amount, remaining: 5n })
  })

  const judge = Effect.fnUntraced(function*(
    status: number,
    headers: { readonly [name: string]: string } = {},
    now = 1_000
  ) {
    const { handle, rail, session } = yield* establish()
    const plan = session.planDraw(handle, offerOf(), undrawn)
    assert.deepInclude(plan, { kind: "draw", units: price, spendableUntil: 3_660_000 })
    return rail.judge(plan, { status, headers, body: undefined }, now)
  }, Effect.provide(scripted(json(201, granted)).layer))

  const shows = (verdict: Rails.Verdict, members: object) => assert.deepInclude<object>(verdict, members)
  const nextOf = (verdict: Rails.Verdict) => verdict._tag === "Unknown" ? verdict.next : undefined

  it.effect("attaches the token as a Payment credential", () =>
    Effect.gen(function*() {
      const { handle, rail, session } = yield* establish()
      const { envelopes } = yield* rail.sign(session.planDraw(handle, offerOf(), undrawn))
      assert.deepStrictEqual(envelopes.map((envelope) => Object.keys(envelope)), [["authorization"]])
      assert.strictEqual(Redacted.value(envelopes[0]["authorization"]!), `Payment ${token}`)
      assert.isFalse(rail.repeats)
    }).pipe(Effect.provide(scripted(json(201, granted)).layer)))

  it.effect("books the receipt's amount, and the tariff as an estimate without one", () =>
    Effect.gen(function*() {
      const estimated = yield* judge(200)
      assert.deepInclude(estimated, { _tag: "Settled", units: price, content: true })
      assert.deepStrictEqual(estimated.evidence.detail, { estimated: true })
      assert.strictEqual(estimated.evidence.rank, "claimed")
      const exact = yield* judge(200, receipt(price))
      assert.deepInclude(exact, { _tag: "Settled", units: price })
      assert.strictEqual(exact.evidence.what, "receipt")
      assert.isUndefined(exact.evidence.mismatch)
      const cheaper = yield* judge(206, receipt(4_000n))
      assert.deepInclude(cheaper, { _tag: "Settled", units: 4_000n })
      assert.isUndefined(cheaper.evidence.mismatch)
    }))

  it.effect("flags a receipt of more than the tariff or of another session, and never believes more than the limit", () =>
    Effect.gen(function*() {
      const dear = yield* judge(200, receipt(2n * price))
      assert.deepInclude(dear, { _tag: "Settled", units: 2n * price })
      assert.isTrue(dear.evidence.mismatch)
      shows(yield* judge(200, receipt(10n ** 17n)), { units: 1_000_000n })
      const foreign = yield* judge(200, receipt(10n ** 17n, "sess_2"))
      assert.deepInclude(foreign, { _tag: "Settled", units: price })
      assert.isTrue(foreign.evidence.mismatch)
    }))

  it.effect("takes a 402 for a refusal, and one with Retry-After for a rate limit", () =>
    Effect.gen(function*() {
      shows(yield* judge(402, challenge), { _tag: "Rejected" })
      shows(yield* judge(402, { "retry-after": "2" }), {
        _tag: "Unknown",
        content: false,
        next: { _tag: "resend", after: 2000 }
      })
    }))

  it.effect("renews on a 401 that is a Payment challenge, or that comes after the expiry", () =>
    Effect.gen(function*() {
      const renew = { _tag: "Unknown", content: false, next: { _tag: "renew" } }
      shows(yield* judge(401, challenge), renew)
      shows(yield* judge(401, {}, 3_600_000), renew)
      shows(yield* judge(401, { "www-authenticate": "Bearer realm=\"x\"" }, 3_600_000), renew)
    }))

  it.effect("leaves the application's own refusals to the caller", () =>
    Effect.gen(function*() {
      const own = { _tag: "Unknown", content: true, next: { _tag: "reconcile" } }
      shows(yield* judge(401), own)
      shows(yield* judge(401, { "www-authenticate": "Bearer realm=\"api\"" }), own)
      for (const status of [400, 403, 404, 409, 410, 418, 422]) shows(yield* judge(status), own)
    }))

  it.effect("books the receipt of a refusal that was debited", () =>
    Effect.gen(function*() {
      shows(yield* judge(404, receipt(price)), { _tag: "Settled", units: price, content: true })
      shows(yield* judge(404, receipt(price, "sess_2")), { _tag: "Unknown", content: true })
      shows(yield* judge(302, receipt(price)), { _tag: "Unknown", content: false })
      shows(yield* judge(503, receipt(price)), { _tag: "Unknown", next: { _tag: "resend", after: undefined } })
    }))

  it.effect("asks before it draws again after 429 and 5xx", () =>
    Effect.gen(function*() {
      shows(yield* judge(429, { "retry-after": "5" }), { next: { _tag: "resend", after: 5000 } })
      for (const status of [500, 502, 503, 504]) {
        shows(yield* judge(status), { _tag: "Unknown", content: false })
        assert.propertyVal(nextOf(yield* judge(status)), "_tag", "resend")
      }
    }))

  it.effect("trusts no redirect", () =>
    Effect.gen(function*() {
      for (const status of [301, 302, 304, 307]) {
        shows(yield* judge(status), { _tag: "Unknown", content: false, next: { _tag: "reconcile" } })
      }
    }))

  it.effect.prop(
    "judges any answer and never throws",
    {
      status: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 599 })),
      header: Schema.Literals(["www-authenticate", "payment-receipt", "retry-after"]),
      value: Schema.String
    },
    ({ header, status, value }) =>
      Effect.gen(function*() {
        const { handle, rail, session } = yield* establish()
        const plan = session.planDraw(handle, offerOf(), undrawn)
        const verdict = rail.judge(plan, { status, headers: { [header]: value }, body: value }, 0)
        assert.include(["Settled", "Rejected", "Unknown"], verdict._tag)
        if (status >= 200 && status < 300) assert.strictEqual(verdict._tag, "Settled")
      }).pipe(Effect.provide(scripted(json(201, granted)).layer)),
    { arbitrary: { runs: 200 } }
  )
})

describe("TokenSession at its endpoint", () => {
  it.effect("reads and closes a session, and forgets the token before it asks", () => {
    const server = scripted(
      json(201, granted),
      json(200, standing("0.25")),
      json(503, {}),
      json(200, standing("0.25", "closed"))
    )
    return Effect.gen(function*() {
      const { handle, rail, session } = yield* establish()
      assert.deepStrictEqual(yield* session.inspect(handle), { spent: 250_000n, remaining: 500_000n, open: true })
      assert.deepStrictEqual(yield* patiently(session.close(handle, undrawn)), {
        spent: 250_000n,
        remaining: 0n,
        open: false
      })
      assert.deepStrictEqual(
        server.calls.slice(1).map(({ headers, method, url }) => [method, url, headers["authorization"]]),
        [
          ["GET", `${endpoint}/sess_1`, `Bearer ${secret}`],
          ["DELETE", `${endpoint}/sess_1`, `Bearer ${secret}`],
          ["DELETE", `${endpoint}/sess_1`, `Bearer ${secret}`]
        ]
      )
      const error = yield* Effect.flip(rail.sign(session.planDraw(handle, offerOf(), undrawn)))
      assert.strictEqual(error._tag, "WalletError")
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("forgets the token even if the session cannot be closed", () => {
    const server = scripted(json(201, granted), json(503, {}))
    return Effect.gen(function*() {
      const { handle, rail, session } = yield* patiently(establish())
      assert.strictEqual((yield* Effect.flip(patiently(session.close(handle, undrawn))))._tag, "Unavailable")
      assert.strictEqual(
        (yield* Effect.flip(rail.sign(session.planDraw(handle, offerOf(), undrawn))))._tag,
        "WalletError"
      )
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("escapes an id from the ledger, and asks no other endpoint than its own", () => {
    const server = scripted(json(200, standing("0")))
    return Effect.gen(function*() {
      const { session } = yield* railOf()
      const data = { endpoint, audience: origin, realm }
      const handle = (wireId: string, data: Schema.Json) =>
        new Rails.SessionHandle({ wireId, limit: 1n, expiresAt: 1, data })
      yield* session.inspect(handle("a/../b?c#d", data))
      assert.strictEqual(server.calls[0]!.url, `${endpoint}/a%2F..%2Fb%3Fc%23d`)
      const elsewhere = { ...data, endpoint: "https://evil.example/session" }
      assert.strictEqual((yield* Effect.flip(session.inspect(handle("a", elsewhere))))._tag, "ProtocolError")
      assert.strictEqual((yield* Effect.flip(session.close(handle("a", elsewhere), undrawn)))._tag, "ProtocolError")
      assert.strictEqual(server.calls.length, 1)
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("answers typed errors when figures cannot be had", () =>
    Effect.gen(function*() {
      const failure = (...replies: [Reply, ...ReadonlyArray<Reply>]) => {
        const server = scripted(...replies)
        return Effect.gen(function*() {
          const { session } = yield* railOf()
          const handle = new Rails.SessionHandle({
            wireId: "sess_1",
            limit: 1n,
            expiresAt: 1,
            data: { endpoint, audience: origin, realm }
          })
          return yield* Effect.flip(patiently(session.inspect(handle)))
        }).pipe(Effect.provide(server.layer))
      }
      assert.deepInclude(yield* failure(json(503, {})), { _tag: "Unavailable", status: 503 })
      assert.deepInclude(yield* failure(json(429, {}, { "retry-after": "9" })), {
        _tag: "Unavailable",
        retryAfter: 9000
      })
      assert.deepInclude(yield* failure("hangs"), { _tag: "Unavailable", notSent: false })
      assert.strictEqual((yield* failure(json(404, {})))._tag, "ProtocolError")
      assert.strictEqual((yield* failure(json(401, {})))._tag, "ProtocolError")
      assert.strictEqual((yield* failure(json(200, { ...standing("0"), spentUsdc: "-1" })))._tag, "ProtocolError")
      assert.strictEqual((yield* failure(json(200, { ...standing("0"), status: "?" })))._tag, "ProtocolError")
      assert.strictEqual((yield* failure(() => new Response("x".repeat(100_000))))._tag, "ProtocolError")
    }))
})

describe("TokenSession.reconcile", () => {
  const lostOpening = (...replies: [Reply, ...ReadonlyArray<Reply>]) => {
    const server = scripted(...replies)
    return Effect.gen(function*() {
      const { rail, session } = yield* railOf()
      const verdict = yield* rail.reconcile(yield* session.planOpen(offerOf(), opening))
      return { verdict, sent: server.calls.map(({ method, url }) => `${method} ${url}`) }
    }).pipe(Effect.provide(server.layer))
  }
  const asked = `GET ${endpoint}?idempotencyKey=aut_1`

  it.effect("closes a session whose token was lost, and takes its final figure", () =>
    Effect.gen(function*() {
      const orphan = { ...standing("0"), sessionId: "sess_1" }
      const unspent = yield* lostOpening(json(200, orphan), json(200, standing("0", "closed")))
      assert.strictEqual(unspent.verdict._tag, "Void")
      assert.strictEqual(unspent.verdict.evidence.rank, "attested")
      assert.deepStrictEqual(unspent.sent, [asked, `DELETE ${endpoint}/sess_1`])
      const spent = yield* lostOpening(json(200, orphan), json(200, standing("0.25", "closed")))
      assert.deepInclude(spent.verdict, { _tag: "Settled", units: 250_000n, content: false })
      const expired = yield* lostOpening(json(200, { ...standing("0", "expired"), sessionId: "sess_1" }))
      assert.strictEqual(expired.verdict._tag, "Void")
      assert.deepStrictEqual(expired.sent, [asked])
    }))

  it.effect("takes the word of an endpoint that knows no such key, and of no other server", () =>
    Effect.gen(function*() {
      const known = yield* lostOpening(json(404, { type: "urn:mpp:session:not-found", idempotencyKey: "aut_1" }))
      assert.strictEqual(known.verdict._tag, "Void")
      for (const other of [json(404, {}), json(404, { idempotencyKey: "aut_2" }), json(405, {}), json(200, {})]) {
        const { verdict } = yield* lostOpening(other)
        assert.deepInclude(verdict, { _tag: "Unknown", content: false, next: { _tag: "reconcile" } })
      }
    }))

  it.effect("leaves a session alone whose token it holds", () => {
    const server = scripted(json(201, granted), json(200, { ...standing("0.25"), sessionId: "sess_1" }))
    return Effect.gen(function*() {
      const { plan, rail } = yield* establish()
      assert.strictEqual((yield* rail.reconcile(plan))._tag, "Unknown")
      assert.strictEqual(server.calls.length, 2)
    }).pipe(Effect.provide(server.layer))
  })

  it.effect("says of a draw what the figure says, and void only if nothing was and can be drawn", () =>
    Effect.gen(function*() {
      const drawn = (figure: Schema.Json) =>
        Effect.gen(function*() {
          const { handle, rail, session } = yield* establish()
          return yield* rail.reconcile(session.planDraw(handle, offerOf(), undrawn))
        }).pipe(Effect.provide(scripted(json(201, granted), json(200, figure)).layer))
      assert.strictEqual((yield* drawn(standing("0")))._tag, "Unknown")
      assert.strictEqual((yield* drawn(standing("0.01", "closed")))._tag, "Unknown")
      assert.strictEqual((yield* drawn(standing("0", "closed")))._tag, "Void")
      assert.deepStrictEqual((yield* drawn(standing("0.01"))).evidence.detail, {
        spent: "10000",
        remaining: "500000",
        status: "open"
      })
    }))

  it.effect("fails as the endpoint does when it cannot be reached", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(patiently(lostOpening(json(503, {}))))
      assert.strictEqual(error._tag, "Unavailable")
    }))
})

describe("TokenSession's secrets", () => {
  it.effect("appear in no error, JSON, span or log", () =>
    Effect.gen(function*() {
      const printed: Array<unknown> = []
      const spans: Array<Tracer.NativeSpan> = []
      const observed = <A, E>(effect: Effect.Effect<A, E>) =>
        effect.pipe(
          Effect.withTracer(Tracer.make({
            span: (options) => {
              const span = new Tracer.NativeSpan(options)
              spans.push(span)
              return span
            }
          })),
          Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void printed.push(line))])),
          Effect.provideService(References.MinimumLogLevel, "All")
        )
      const echoing = { type: `urn:mpp:session:${secret}`, title: secret, detail: `${secret} ${token}` }
      const replies: ReadonlyArray<Reply> = [
        json(201, granted),
        "hangs",
        "reset",
        "refused",
        json(400, echoing),
        json(429, echoing),
        json(500, echoing),
        json(201, { ...granted, spendingLimitUsdc: "9.00" }),
        json(201, { ...granted, sessionToken: `${token}\r\n` }),
        json(201, echoing)
      ]
      for (const reply of replies) {
        const exit = yield* Effect.exit(observed(
          patiently(Effect.gen(function*() {
            const { handle, plan, rail, session } = yield* establish()
            const draw = session.planDraw(handle, offerOf(), undrawn)
            const credential = yield* rail.sign(draw)
            yield* Effect.logError("everything", handle, plan, draw, credential, rail)
            yield* Effect.exit(rail.reconcile(draw))
            yield* Effect.exit(session.inspect(handle))
            return { handle, plan, draw, credential }
          })).pipe(Effect.provide(scripted(reply).layer))
        ))
        printed.push(exit, String(exit))
        if (Exit.isFailure(exit)) {
          printed.push(Cause.pretty(exit.cause), exit.cause)
          const error = Cause.squash(exit.cause)
          if (Schema.is(PaymentError.Reason)(error)) {
            const whole = new PaymentError.PaymentError({ reason: error, origin, money: "unknown" })
            printed.push(
              yield* Schema.encodeEffect(Schema.toCodecJson(PaymentError.PaymentError))(whole),
              whole.message
            )
          }
        }
      }
      assert.isAbove(spans.length, replies.length)
      for (const span of spans) printed.push([...span.attributes], span.name, span.events, span.status)
      const text = printed.map((one) =>
        `${typeof one === "string" ? one : ""}${
          JSON.stringify(one, (_, value: unknown) => typeof value === "bigint" ? `${value}` : value)
        }`
      ).join("\n")
      assert.include(text, "everything")
      assert.notInclude(text, "SECRET")
    }))
})

describe("TokenSession.layer", () => {
  const names = (
    rail: Layer.Layer<never, PaymentError.PolicyDenied | Config.ConfigError, Rails.Rails | Transport.Transport>
  ) =>
    Effect.gen(function*() {
      const rails = yield* Rails.Rails
      yield* Effect.scoped(Layer.build(rail))
      return (yield* rails.all).map(({ name }) => name)
    }).pipe(
      Effect.provide(Rails.Rails.layer),
      Effect.provide(scripted(json(500, {})).layer)
    )

  const fromEnvironment = (environment: { readonly [name: string]: string }) =>
    Effect.provide(
      names(TokenSession.layerConfig()),
      ConfigProvider.layer(ConfigProvider.fromUnknown(environment))
    )

  it.effect("is configured by the environment, and not registered without credential or origins", () =>
    Effect.gen(function*() {
      const complete = { TEMPO_CREDENTIAL: secret, MPP_SESSION_ORIGINS: "https://a.example, https://b.example=b realm" }
      assert.deepStrictEqual(yield* fromEnvironment(complete), ["mpp/token-session"])
      assert.deepStrictEqual(yield* fromEnvironment({ MPP_SESSION_ORIGINS: origin }), [])
      assert.deepStrictEqual(yield* fromEnvironment({ TEMPO_CREDENTIAL: "", MPP_SESSION_ORIGINS: origin }), [])
      assert.deepStrictEqual(yield* fromEnvironment({ TEMPO_CREDENTIAL: secret }), [])
      assert.deepStrictEqual(yield* fromEnvironment({ TEMPO_CREDENTIAL: secret, MPP_SESSION_ORIGINS: " , " }), [])
    }))

  it.effect("refuses endpoints, origins and credentials that are not safe, without repeating them", () =>
    Effect.gen(function*() {
      const ruleOf = (options: Partial<TokenSession.Options>) =>
        Effect.flip(names(TokenSession.layer({ credential: Redacted.make(secret), origins: [origin], ...options })))
          .pipe(
            Effect.map((error) => {
              assert.notInclude(error.message, "SECRET")
              return error._tag === "PolicyDenied" ? error.rule : error._tag
            })
          )
      for (
        const endpoint of [
          "http://pay.example/session",
          "https://SECRET@pay.example/session",
          "https://pay.example/session?SECRET",
          "https://pay.example/session#x",
          "SECRET"
        ]
      ) assert.strictEqual(yield* ruleOf({ endpoint }), "session-endpoint")
      for (
        const entry of [
          "api.example.com",
          "http://api.example.com",
          "https://api.example.com/path",
          "https://u@a.example"
        ]
      ) {
        assert.strictEqual(yield* ruleOf({ origins: [entry] }), "session-origins")
      }
      for (const credential of [`${secret}\r\nx: 1`, "with space", "é", ""]) {
        assert.strictEqual(yield* ruleOf({ credential: Redacted.make(credential) }), "session-credential")
      }
    }))

  it.effect("warns when it is on for every origin", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      yield* names(TokenSession.layer({ credential: Redacted.make(secret), origins: ["*"] })).pipe(
        Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void lines.push(line))]))
      )
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0]!, "every origin")
    }))
})
