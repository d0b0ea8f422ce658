import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Demand from "../../src/Demand.ts"
import { SessionAuthority } from "../../src/merchant/SessionAuthority.ts"
import * as Authority from "../../src/merchant/SessionAuthority.ts"
import * as Rails from "../../src/Rails.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import * as Transport from "../../src/Transport.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"

const credential = Redacted.make("tempo_test_contract")
const other = Redacted.make("tempo_test_other")
const price = 10_000n

const origin = Effect.map(
  HttpServer.HttpServer,
  ({ address }) => `http://127.0.0.1:${"port" in address ? address.port : 0}`
)

/** A merchant on the authority's own server: asks for a token, debits it, and gives a receipt. */
const Merchant = HttpRouter.add(
  "GET",
  "/data",
  Effect.gen(function*() {
    const sessions = yield* SessionAuthority
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const audience = `http://${headers["host"]}`
    const realm = "127.0.0.1"
    const challenge = SeedChallenge.format({ id: "c_1", realm, priceUsdc: price, resource: "/data" })
    const demand = (status: number) => HttpServerResponse.empty({ status, headers: { "www-authenticate": challenge } })
    const token = /^Payment (\S+)$/.exec(headers["authorization"] ?? "")?.[1]
    if (token === undefined) return demand(402)
    return yield* sessions.debit(Redacted.make(token), { audience, realm, amountUsd: price }).pipe(
      Effect.map(({ amountUsd, remainingUsd, sessionId }) =>
        HttpServerResponse.text("content", {
          headers: {
            "payment-receipt": Receipt.encodeSeed({ sessionId, amount: amountUsd, remaining: remainingUsd })
          }
        })
      ),
      Effect.catchTag("DebitRefused", ({ why }) => Effect.succeed(demand(why === "exhausted" ? 402 : 401)))
    )
  })
)

const Seen = Ref.make<ReadonlyArray<string>>([])

/** An endpoint that hands every request on to another host, and one that is lost on the way back. */
const Faulty = Layer.unwrap(Effect.map(Seen, (seen) =>
  Layer.mergeAll(
    HttpRouter.add(
      "POST",
      "/moved",
      HttpServerResponse.empty({ status: 307, headers: { location: "/elsewhere" } })
    ),
    HttpRouter.add(
      "*",
      "/elsewhere",
      Effect.as(
        Ref.update(seen, (all) => [...all, "request"]),
        HttpServerResponse.empty({ status: 204 })
      )
    ),
    HttpRouter.add(
      "GET",
      "/elsewhere-count",
      Effect.map(Ref.get(seen), (all) => HttpServerResponse.text(`${all.length}`))
    )
  )))

const Server = HttpRouter.serve(Layer.mergeAll(Authority.routes, Merchant, Faulty), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  Layer.provideMerge(
    Authority.layer({ accounts: [credential, other].map((credential) => ({ credential, balanceUsd: 1_000_000n })) })
  ),
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const Client = Transport.layer.pipe(Layer.provide(FetchHttpClient.layer))

/** Sends everything, and loses the first answer to a POST. */
const losingFirst = (client: HttpClient.HttpClient): HttpClient.HttpClient => {
  let lost = false
  return HttpClient.transform(
    client,
    (answer, request) =>
      request.method !== "POST" ? answer : Effect.flatMap(answer, (response) => {
        if (lost) return Effect.succeed(response)
        lost = true
        const reason = new HttpClientError.TransportError({ request, description: "connection reset" })
        return Effect.fail(new HttpClientError.HttpClientError({ reason }))
      })
  )
}

const railAt = Effect.fnUntraced(function*(path: string, account = credential) {
  const here = yield* origin
  const rails = yield* Rails.Rails
  yield* Effect.scoped(
    Layer.build(TokenSession.layer({ credential: account, origins: [here], endpoint: `${here}${path}` }))
  )
  const [rail] = yield* rails.all
  return { here, rail: rail!, session: Option.getOrThrow(rail!.session) }
}, (effect) => Effect.provide(effect, Rails.Rails.layer))

const visit = Effect.fnUntraced(function*(authorization?: Redacted.Redacted<string>) {
  const client = yield* Transport.Transport
  const request = HttpClientRequest.get(`${yield* origin}/data`)
  const response = yield* client.execute(
    authorization === undefined
      ? request
      : HttpClientRequest.setHeader(request, "authorization", Redacted.value(authorization))
  )
  const answer: Demand.Answer = { status: response.status, headers: response.headers, body: undefined }
  return { answer, text: yield* response.text }
})

/** The authority keeps the books. */
const undrawn: Rails.Drawn = { limit: 0n, spent: 0n, reserved: 0n }

const opening = (here: string, idempotencyKey: string, limit = 2n * price) => ({
  origin: here,
  purchase: "ses_1",
  agent: "tester",
  limit,
  validityMillis: 600_000,
  idempotencyKey,
  resource: { method: "GET", url: `${here}/data` }
})

layer(Layer.mergeAll(Server, Client))("TokenSession against SessionAuthority over a real socket", (it) => {
  it.effect("opens, draws until the limit is used up, reads and closes", () =>
    Effect.gen(function*() {
      const { here, rail, session } = yield* railAt("/session")
      const { answer: unpaid } = yield* visit()
      const [offer] = Demand.read(unpaid, 0).offers
      assert.isDefined(offer)
      assert.strictEqual(rail.accepts(offer!, here)._tag, "Success")
      const handle = yield* session.establish(yield* session.planOpen(offer!, opening(here, "k1")))
      const draw = Effect.gen(function*() {
        const plan = session.planDraw(handle, offer!, undrawn)
        const { envelopes } = yield* rail.sign(plan)
        const { answer, text } = yield* visit(envelopes[0]["authorization"])
        return { text, verdict: rail.judge(plan, answer, 0) }
      })
      for (const remaining of ["10000", "0"]) {
        const { text, verdict } = yield* draw
        assert.strictEqual(text, "content")
        assert.deepInclude<object>(verdict, { _tag: "Settled", units: price, content: true })
        assert.deepStrictEqual(verdict.evidence.detail, { amount: "10000", remaining })
      }
      assert.strictEqual((yield* draw).verdict._tag, "Rejected")
      assert.deepStrictEqual(yield* session.inspect(handle), { spent: 20_000n, remaining: 0n, open: true })
      const plan = session.planDraw(handle, offer!, undrawn)
      const { envelopes } = yield* rail.sign(plan)
      assert.deepStrictEqual(yield* session.close(handle, undrawn), { spent: 20_000n, remaining: 0n, open: false })
      assert.deepStrictEqual(yield* session.close(handle, undrawn), { spent: 20_000n, remaining: 0n, open: false })
      const { answer } = yield* visit(envelopes[0]["authorization"])
      assert.deepInclude<object>(rail.judge(plan, answer, 0), { _tag: "Unknown", next: { _tag: "renew" } })
    }))

  it.effect("opens one session for a key that is asked for again", () =>
    Effect.gen(function*() {
      const { here, session } = yield* railAt("/session")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const plan = yield* session.planOpen(offer!, opening(here, "k2"))
      const [first, ...others] = yield* Effect.all(Array.from({ length: 4 }, () => session.establish(plan)), {
        concurrency: "unbounded"
      })
      for (const other of others) assert.deepStrictEqual(other, first)
      assert.strictEqual((yield* session.close(first!, undrawn)).spent, 0n)
    }))

  it.effect("opens one session when the answer to the first request is lost", () =>
    Effect.gen(function*() {
      const { here, session } = yield* railAt("/session")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const plan = yield* session.planOpen(offer!, opening(here, "k7"))
      const authority = yield* SessionAuthority
      const held = Effect.map(authority.audit, ({ accounts }) => accounts[0]!.reservedUsd)
      const before = yield* held
      const handle = yield* session.establish(plan)
      assert.strictEqual((yield* authority.inspect(credential, { idempotencyKey: "k7" })).sessionId, handle.wireId)
      assert.strictEqual((yield* held) - before, plan.units)
      yield* session.close(handle, undrawn)
      assert.strictEqual(yield* held, before)
    }).pipe(
      Effect.updateService(Transport.Transport, losingFirst),
      Effect.updateService(RetryPolicy.RetryPolicy, (policy) => ({ ...policy, Unavailable: Schedule.recurs(1) }))
    ))

  it.effect("finds and closes a session whose answer was lost", () =>
    Effect.gen(function*() {
      const { here, session } = yield* railAt("/session")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const plan = yield* session.planOpen(offer!, opening(here, "k3"))
      yield* session.establish(plan)
      // another process: it holds no token
      const { rail } = yield* railAt("/session")
      assert.strictEqual((yield* rail.reconcile(plan))._tag, "Void")
      const authority = yield* SessionAuthority
      assert.strictEqual((yield* authority.inspect(credential, { idempotencyKey: "k3" })).status, "closed")
      const never = yield* session.planOpen(offer!, opening(here, "k4"))
      assert.strictEqual((yield* rail.reconcile(never))._tag, "Void")
    }))

  it.effect("is not told by one account that another has opened nothing", () =>
    Effect.gen(function*() {
      const { here, rail, session } = yield* railAt("/session")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const plan = yield* session.planOpen(offer!, opening(here, "k8"))
      yield* session.establish(plan)
      const stranger = yield* railAt("/session", other)
      assert.deepInclude<object>(yield* stranger.rail.reconcile(plan), { _tag: "Unknown" })
      assert.notInclude(JSON.stringify(plan.data), Redacted.value(credential))
      assert.deepInclude<object>(yield* rail.reconcile(plan), { _tag: "Unknown" })
      const { rail: restarted } = yield* railAt("/session")
      assert.strictEqual((yield* restarted.reconcile(plan))._tag, "Void")
    }))

  it.effect("is refused more than the account holds", () =>
    Effect.gen(function*() {
      const { here, session } = yield* railAt("/session")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const error = yield* Effect.flip(
        session.establish(yield* session.planOpen(offer!, opening(here, "k5", 2_000_000n)))
      )
      assert.deepInclude<object>(error, { _tag: "PaymentRejected", status: 402, problem: "insufficient-balance" })
    }))

  it.effect("does not follow the endpoint to another place", () =>
    Effect.gen(function*() {
      const { here, session } = yield* railAt("/moved")
      const { answer } = yield* visit()
      const [offer] = Demand.read(answer, 0).offers
      const error = yield* Effect.flip(session.establish(yield* session.planOpen(offer!, opening(here, "k6"))))
      assert.strictEqual(error._tag, "ProtocolError")
      const count = yield* HttpClient.get("/elsewhere-count").pipe(Effect.flatMap((response) => response.text))
      assert.strictEqual(count, "0")
    }))
})
