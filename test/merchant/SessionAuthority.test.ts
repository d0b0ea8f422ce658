import { assert, describe, it } from "@effect/vitest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { SessionAuthority } from "../../src/merchant/SessionAuthority.ts"
import * as Authority from "../../src/merchant/SessionAuthority.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"
import type * as SessionEndpoint from "../../src/wire/mpp/SessionEndpoint.ts"

const credential = Redacted.make("tempo_test_alice")
const stranger = Redacted.make("tempo_test_mallory")
const audience = "https://api.example.com"
const realm = "api.example.com"
const challenge = SeedChallenge.encode({ id: "c_1", realm, priceUsdc: 1_000n })

const request: SessionEndpoint.OpenRequest = {
  challenge,
  audience,
  spendingLimitUsdc: 10_000n,
  validitySeconds: 3600,
  agentId: "tester"
}

const authority = (options: Partial<Authority.Options> = {}) =>
  Authority.layer({
    accounts: [
      { credential, balanceUsd: 100_000n, name: "alice" },
      { credential: Redacted.make("tempo_test_bob"), balanceUsd: 5_000n, name: "bob" }
    ],
    ...options
  }).pipe(Layer.provide(SecureRandom.layerWebCrypto))

const alice = Effect.map(SessionAuthority.use((it) => it.audit), ({ accounts }) => accounts[0]!)

const charge = (amountUsd: bigint, requestId?: string): Authority.Charge => ({ audience, realm, amountUsd, requestId })

const whyOf = <A, R>(
  effect: Effect.Effect<A, Authority.Unauthorized | Authority.OpenRefused | Authority.DebitRefused, R>
) => Effect.map(Effect.flip(effect), (error) => "why" in error ? error.why : error._tag)

describe("SessionAuthority", () => {
  it.effect("reserves the limit at once and returns the rest when the session is closed", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const { sessionId, token } = yield* sessions.create(credential, "k1", request)
      assert.match(Redacted.value(token), /^mpps_[A-Za-z0-9_-]{43}$/)
      assert.deepInclude(yield* alice, { spentUsd: 0n, reservedUsd: 10_000n, availableUsd: 90_000n })
      assert.deepStrictEqual(yield* sessions.debit(token, charge(1_500n)), {
        sessionId,
        amountUsd: 1_500n,
        remainingUsd: 8_500n
      })
      assert.deepInclude(yield* alice, { spentUsd: 1_500n, reservedUsd: 8_500n, availableUsd: 90_000n })
      const closed = { sessionId, spentUsd: 1_500n, remainingUsd: 0n, status: "closed" as const }
      assert.deepStrictEqual(yield* sessions.close(credential, sessionId), closed)
      assert.deepStrictEqual(yield* sessions.close(credential, sessionId), closed)
      assert.deepInclude(yield* alice, { spentUsd: 1_500n, reservedUsd: 0n, availableUsd: 98_500n })
      assert.strictEqual(yield* whyOf(sessions.debit(token, charge(1n))), "closed")
    }).pipe(Effect.provide(authority())))

  it.effect("opens one session per key and answers it again with the same token", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const grants = yield* Effect.all(
        Array.from({ length: 8 }, () => sessions.create(credential, "k1", request)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(new Set(grants.map((grant) => grant.sessionId)).size, 1)
      assert.strictEqual(new Set(grants.map((grant) => Redacted.value(grant.token))).size, 1)
      assert.strictEqual((yield* alice).reservedUsd, 10_000n)
      assert.strictEqual(
        yield* whyOf(sessions.create(credential, "k1", { ...request, spendingLimitUsdc: 10_001n })),
        "idempotency-key-reused"
      )
      const other = yield* sessions.create(credential, "k2", request)
      assert.notStrictEqual(other.sessionId, grants[0]!.sessionId)
      yield* sessions.close(credential, other.sessionId)
      assert.strictEqual(yield* whyOf(sessions.create(credential, "k2", request)), "session-ended")
    }).pipe(Effect.provide(authority())))

  it.effect("keeps the keys and sessions of its accounts apart", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const bob = Redacted.make("tempo_test_bob")
      const mine = yield* sessions.create(credential, "k1", request)
      const his = yield* sessions.create(bob, "k1", { ...request, spendingLimitUsdc: 5_000n })
      assert.notStrictEqual(mine.sessionId, his.sessionId)
      assert.strictEqual((yield* Effect.flip(sessions.inspect(bob, mine)))._tag, "SessionNotFound")
      assert.strictEqual((yield* Effect.flip(sessions.close(bob, mine.sessionId)))._tag, "SessionNotFound")
      assert.strictEqual(
        (yield* Effect.flip(sessions.create(stranger, "k1", request)))._tag,
        "Unauthorized"
      )
      assert.strictEqual((yield* sessions.inspect(bob, { idempotencyKey: "k1" })).sessionId, his.sessionId)
    }).pipe(Effect.provide(authority())))

  it.effect("refuses what the balance does not cover, and limits the number of open sessions", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const big = { ...request, spendingLimitUsdc: 60_000n }
      const first = yield* sessions.create(credential, "k1", big)
      assert.strictEqual(yield* whyOf(sessions.create(credential, "k2", big)), "insufficient-balance")
      assert.strictEqual(
        yield* whyOf(sessions.create(credential, "k3", { ...request, spendingLimitUsdc: 0n })),
        "empty-limit"
      )
      yield* sessions.create(credential, "k4", request)
      assert.strictEqual(yield* whyOf(sessions.create(credential, "k5", request)), "too-many-sessions")
      yield* sessions.close(credential, first.sessionId)
      yield* sessions.create(credential, "k2", big)
    }).pipe(Effect.provide(authority({ maxOpenSessions: 2 }))))

  it.effect("takes a challenge only for the origin that its realm belongs to", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const open = (audience: string, realm: string, key: string) =>
        sessions.create(credential, key, {
          ...request,
          audience,
          challenge: SeedChallenge.encode({ id: "c", realm, priceUsdc: 1n })
        })
      yield* open("https://api.example.com", "API.example.com:443", "a")
      yield* open("http://localhost:4021", "localhost", "b")
      yield* open("https://data.example.com", "example-data", "c")
      assert.strictEqual(yield* whyOf(open("https://evil.example", "api.example.com", "d")), "realm-mismatch")
      assert.strictEqual(yield* whyOf(open("https://api.example.com", "example-data", "e")), "realm-mismatch")
      assert.strictEqual(
        yield* whyOf(sessions.create(credential, "f", { ...request, challenge: "bm8ganNvbg==" })),
        "malformed-challenge"
      )
    }).pipe(Effect.provide(authority({ realms: { "https://data.example.com": "example-data" } }))))

  it.effect("debits a token only at the audience and realm that it was opened for", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const { token } = yield* sessions.create(credential, "k1", request)
      const at = (audience: string, realm: string) => sessions.debit(token, { audience, realm, amountUsd: 1n })
      assert.strictEqual(yield* whyOf(at("https://evil.example", realm)), "wrong-audience")
      assert.strictEqual(yield* whyOf(at(audience, "other")), "wrong-audience")
      assert.strictEqual(yield* whyOf(sessions.debit(Redacted.make("mpps_guess"), charge(1n))), "unknown-token")
      assert.strictEqual(yield* whyOf(sessions.debit(token, charge(-1n))), "invalid-amount")
      assert.strictEqual((yield* alice).spentUsd, 0n)
    }).pipe(Effect.provide(authority())))

  it.effect("debits a request id once, also when it is asked for again after the end", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const { sessionId, token } = yield* sessions.create(credential, "k1", request)
      const debits = yield* Effect.all(
        Array.from({ length: 8 }, () => sessions.debit(token, charge(4_000n, "r1"))),
        { concurrency: "unbounded" }
      )
      yield* sessions.debit(token, charge(1_000n, "r2"))
      for (const debit of debits) assert.deepStrictEqual(debit, { sessionId, amountUsd: 4_000n, remainingUsd: 6_000n })
      assert.strictEqual(yield* whyOf(sessions.debit(token, charge(1n, "r1"))), "request-id-reused")
      yield* sessions.close(credential, sessionId)
      assert.deepStrictEqual(yield* sessions.debit(token, charge(4_000n, "r1")), debits[0])
      assert.strictEqual((yield* alice).spentUsd, 5_000n)
    }).pipe(Effect.provide(authority())))

  it.effect("ends a session at its expiry, keeps its figures for a day, and then forgets it", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const { expiresAt, sessionId, token } = yield* sessions.create(credential, "k1", request)
      assert.strictEqual(expiresAt, 3_600_000)
      yield* sessions.debit(token, charge(1_000n))
      yield* TestClock.adjust("3599999 millis")
      yield* sessions.debit(token, charge(1_000n))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* whyOf(sessions.debit(token, charge(1_000n))), "expired")
      assert.deepInclude(yield* sessions.inspect(credential, { sessionId }), { spentUsd: 2_000n, status: "expired" })
      assert.deepInclude(yield* alice, { spentUsd: 2_000n, reservedUsd: 0n, availableUsd: 98_000n })
      assert.deepInclude(yield* sessions.close(credential, sessionId), { status: "expired" })
      yield* TestClock.adjust("25 hours")
      yield* sessions.create(credential, "k2", request)
      assert.strictEqual(
        (yield* Effect.flip(sessions.inspect(credential, { sessionId })))._tag,
        "SessionNotFound"
      )
      assert.strictEqual(yield* whyOf(sessions.debit(token, charge(1n))), "unknown-token")
      assert.deepInclude(yield* alice, { spentUsd: 2_000n, reservedUsd: 10_000n, availableUsd: 88_000n })
    }).pipe(Effect.provide(authority())))

  it.effect("never grants a longer validity than it allows", () =>
    Effect.gen(function*() {
      const sessions = yield* SessionAuthority
      const grant = yield* sessions.create(credential, "k1", { ...request, validitySeconds: 31 * 86_400 })
      assert.strictEqual(grant.expiresAt, 600_000)
    }).pipe(Effect.provide(authority({ maxValidity: "10 minutes" }))))

  it.effect.prop(
    "never exceeds a limit or a balance, whatever is debited at once",
    {
      limits: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60_000 }))),
      amounts: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9_000 }))),
      closeAfter: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
    },
    ({ amounts, closeAfter, limits }) =>
      Effect.gen(function*() {
        const sessions = yield* SessionAuthority
        const opened = yield* Effect.forEach(limits, (limit, index) =>
          Effect.option(sessions.create(credential, `k${index}`, { ...request, spendingLimitUsdc: BigInt(limit) })), {
          concurrency: "unbounded"
        })
        const grants = opened.flatMap((grant) =>
          grant._tag === "Some" ? [grant.value] : []
        )
        const debits = yield* Effect.forEach(
          amounts.flatMap((amount, index) =>
            grants.map((grant) => ({ amount, grant, index }))
          ),
          ({ amount, grant, index }) =>
            index === closeAfter
              ? Effect.as(sessions.close(credential, grant.sessionId), 0n)
              : Effect.yieldNow.pipe(
                Effect.andThen(sessions.debit(grant.token, charge(BigInt(amount)))),
                Effect.map((debit) => debit.amountUsd),
                Effect.catchTag("DebitRefused", () => Effect.succeed(0n))
              ),
          { concurrency: "unbounded" }
        )
        const total = debits.reduce((sum, amount) => sum + amount, 0n)
        let spent = 0n
        for (const grant of grants) {
          const standing = yield* sessions.inspect(credential, grant)
          assert.isAtMost(Number(standing.spentUsd), Number(grant.limitUsd))
          if (standing.status === "open") assert.strictEqual(standing.spentUsd + standing.remainingUsd, grant.limitUsd)
          spent += standing.spentUsd
        }
        const { accounts, moved } = yield* sessions.audit
        assert.strictEqual(spent, total)
        assert.strictEqual(moved.get(audience) ?? 0n, total)
        for (const { availableUsd, balanceUsd, reservedUsd, spentUsd } of accounts) {
          assert.strictEqual(spentUsd + reservedUsd + availableUsd, balanceUsd)
          assert.isTrue(availableUsd >= 0n)
        }
      }).pipe(Effect.provide(authority())),
    { arbitrary: { runs: 50 } }
  )
})

describe("SessionAuthority.routes", () => {
  const call = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest) {
    const app = yield* HttpRouter.toHttpEffect(Authority.routes)
    const response = yield* app.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromClientRequest(request)),
      Effect.map((it) => HttpServerResponse.toClientResponse(it, { request }))
    )
    return { status: response.status, headers: response.headers, body: yield* bodyOf(response) }
  }, Effect.scoped)

  const bodyOf = (response: HttpClientResponse.HttpClientResponse) =>
    Effect.flatMap(response.text, Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.JsonObject)))

  const body = {
    challenge,
    audience,
    spendingLimitUsdc: "0.01",
    validitySeconds: 3600
  }
  const url = "https://pay.example/session"
  const as = HttpClientRequest.bearerToken(credential)
  const post = (json: Schema.Json, key = "k1") =>
    HttpClientRequest.post(url).pipe(
      as,
      HttpClientRequest.setHeader("idempotency-key", key),
      HttpClientRequest.bodyJsonUnsafe(json)
    )

  it.effect("opens, reads, finds and closes a session", () =>
    Effect.gen(function*() {
      const opened = yield* call(post(body))
      assert.strictEqual(opened.status, 201)
      assert.strictEqual(opened.headers["cache-control"], "no-store")
      assert.deepInclude(opened.body, {
        spendingLimitUsdc: "0.01",
        expiresAt: "1970-01-01T01:00:00.000Z",
        audience
      })
      const sessionId = String(opened.body.sessionId)
      assert.deepStrictEqual((yield* call(post(body))).body, opened.body)
      const read = yield* call(as(HttpClientRequest.get(`${url}/${sessionId}`)))
      assert.deepStrictEqual(read.body, { sessionId, spentUsdc: "0.00", remainingUsdc: "0.01", status: "open" })
      const found = yield* call(as(HttpClientRequest.get(url, { urlParams: { idempotencyKey: "k1" } })))
      assert.deepStrictEqual(found.body, read.body)
      const closed = yield* call(as(HttpClientRequest.delete(`${url}/${sessionId}`)))
      assert.deepStrictEqual(closed.body, { sessionId, spentUsdc: "0.00", remainingUsdc: "0.00", status: "closed" })
    }).pipe(Effect.provide(authority())))

  it.effect("answers failures as problems of its own types", () =>
    Effect.gen(function*() {
      const problemOf = (request: HttpClientRequest.HttpClientRequest) =>
        Effect.map(call(request), ({ body, headers, status }) => {
          assert.strictEqual(headers["content-type"], "application/problem+json")
          assert.strictEqual(body.status, status)
          return [status, body.type]
        })
      const withoutKey = HttpClientRequest.post(url).pipe(as, HttpClientRequest.bodyJsonUnsafe(body))
      const strange = HttpClientRequest.bearerToken(HttpClientRequest.get(`${url}/x`), stranger)
      assert.deepStrictEqual(yield* problemOf(HttpClientRequest.get(`${url}/x`)), [401, "urn:mpp:session:unauthorized"])
      assert.deepStrictEqual(yield* problemOf(strange), [401, "urn:mpp:session:unauthorized"])
      assert.deepStrictEqual(yield* problemOf(as(HttpClientRequest.get(`${url}/x`))), [
        404,
        "urn:mpp:session:not-found"
      ])
      assert.deepStrictEqual(yield* problemOf(withoutKey), [422, "urn:mpp:session:malformed-request"])
      for (
        const wrong of [
          { spendingLimitUsdc: "1e3" },
          { spendingLimitUsdc: 0.01 },
          { spendingLimitUsdc: "-1" },
          { audience: "https://api.example.com/path" },
          { validitySeconds: 0 },
          { validitySeconds: "60" },
          { challenge: "x".repeat(17 * 1024) }
        ]
      ) assert.strictEqual((yield* problemOf(post({ ...body, ...wrong })))[0], 422)
      assert.strictEqual((yield* problemOf(post({ ...body, agentId: "x".repeat(70_000) })))[0], 422)
      assert.deepStrictEqual(yield* problemOf(post({ ...body, spendingLimitUsdc: "1.00" })), [
        402,
        "urn:mpp:session:insufficient-balance"
      ])
      yield* call(post(body))
      assert.strictEqual((yield* problemOf(post({ ...body, validitySeconds: 60 })))[0], 422)
      const crowded = yield* call(post(body, "k2"))
      assert.strictEqual(crowded.status, 429)
      assert.strictEqual(crowded.headers["retry-after"], "60")
    }).pipe(Effect.provide(authority({ maxOpenSessions: 1 }))))

  it.effect("repeats the key that it does not know, so that its 404 is told apart from a missing route", () =>
    Effect.gen(function*() {
      const missing = yield* call(as(HttpClientRequest.get(url, { urlParams: { idempotencyKey: "k9" } })))
      assert.strictEqual(missing.status, 404)
      assert.strictEqual(missing.body.idempotencyKey, "k9")
    }).pipe(Effect.provide(authority())))
})
