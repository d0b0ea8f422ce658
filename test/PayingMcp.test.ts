import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Option, Ref, Result, Schema, Tracer } from "effect"
import { McpClient, McpClientError, McpProtocol, type McpSchema } from "effect/ai"
import { SecureRandom } from "effect/crypto"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Agent from "../src/Agent.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingMcp from "../src/PayingMcp.ts"
import * as Payment from "../src/Payment.ts"
import * as PaymentError from "../src/PaymentError.ts"
import type * as Policy from "../src/Policy.ts"
import * as Rails from "../src/Rails.ts"
import * as ChargeVerdict from "../src/rails/ChargeVerdict.ts"
import * as ExactEvmVerdict from "../src/rails/ExactEvmVerdict.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"
import * as Transport from "../src/Transport.ts"
import * as Challenge from "../src/wire/mpp/Challenge.ts"
import * as Credential from "../src/wire/mpp/Credential.ts"
import * as PaymentRequest from "../src/wire/mpp/PaymentRequest.ts"
import * as Envelope from "../src/wire/x402/Envelope.ts"

// ---------------------------------------------------------------------------------------------------------------------
// A server that says what a test tells it to, and what it was sent
// ---------------------------------------------------------------------------------------------------------------------

type Said = Partial<Pick<McpSchema.JsonRpcResponse, "result" | "error">>
type Turn = Said | Effect.Effect<Said, McpClientError.McpClientError>

interface Server {
  readonly turns: ReadonlyArray<Turn>
  readonly seen: ReadonlyArray<McpSchema.JsonRpcRequest>
  readonly notified: ReadonlyArray<McpSchema.JsonRpcNotification>
  /** The authorisations that were taken, by their proof. */
  readonly taken: ReadonlySet<string>
  readonly signed: number
  /** From now on an authorisation that was not taken is proven void. */
  readonly over: boolean
}

class World extends Context.Service<World, Ref.Ref<Server>>()("test/World") {}

const world = Effect.flatMap(World, Ref.get)
const change = (how: (server: Server) => Partial<Server>) =>
  Effect.flatMap(World, (ref) => Ref.update(ref, (server) => ({ ...server, ...how(server) })))

/** What the server will say, one answer after the other. */
const saying = (...turns: ReadonlyArray<Turn>) => change(() => ({ turns }))

const meta = ({ params }: McpSchema.JsonRpcRequest): { readonly [key: string]: unknown } => Object(params?._meta)
const paymentOf = (request: McpSchema.JsonRpcRequest) =>
  meta(request)["org.paymentauth/credential"] ?? meta(request)["x402/payment"]
const credentials = Effect.map(world, ({ seen }) => seen.flatMap((request) => paymentOf(request) ?? []))

const inner = (server: Ref.Ref<Server>): McpClient.Transport => ({
  "~effect/ai/McpClient/Transport": "~effect/ai/McpClient/Transport",
  protocol: McpProtocol.v2025_11_25,
  isCallable: () => true,
  notify: (message) => Ref.update(server, (now) => ({ ...now, notified: [...now.notified, message] })),
  request: Effect.fnUntraced(function*(message) {
    const turn = yield* Ref.modify(server, ({ turns: [turn, ...turns], ...now }): [Turn | undefined, Server] => [
      turn,
      { ...now, turns, seen: [...now.seen, message] }
    ])
    if (turn === undefined) return yield* Effect.die(new Error("the server was asked once too often"))
    const said = Effect.isEffect(turn) ? yield* turn : turn
    return said.error === undefined
      ? { jsonrpc: "2.0" as const, id: message.id, result: said.result }
      : { jsonrpc: "2.0" as const, id: message.id, error: said.error }
  })
})

const broken = Effect.fail(
  new McpClientError.McpClientError({ reason: new McpClientError.TransportError({ description: "closed" }) })
)

// ---------------------------------------------------------------------------------------------------------------------
// A rail that signs anything
// ---------------------------------------------------------------------------------------------------------------------

const { asset } = AgentTest
const evidence = (rank: Rails.Rank, what: string) => new Rails.Evidence({ rank, what })
const payer = "0x00000000000000000000000000000000000000a1"
const payee = "0x00000000000000000000000000000000000000b2"

const decodeChallenge = Schema.decodeUnknownOption(Challenge.Challenge)

const rail = Effect.gen(function*() {
  const random = yield* SecureRandom.SecureRandom
  const server = yield* World
  const offered = new Map<string, Parameters<Rails.Rail["plan"]>[0]>()
  const proofOf = ({ data }: Rails.Plan): string => Object(data).proof
  const challengeOf = ({ data }: Rails.Plan) => decodeChallenge(Object(data).challenge)
  const made: Rails.Rail = {
    name: "test/charge",
    payer,
    steps: 1,
    repeats: true,
    session: Option.none(),
    accepts: (offer) =>
      offer.method === "test" || offer.protocol === "x402" ? Result.succeed(asset) : Result.fail({ why: "other" }),
    plan: Effect.fnUntraced(function*(offer) {
      const proof = yield* random.uuidV4()
      offered.set(proof, offer)
      return new Rails.Plan({
        rail: "test/charge",
        kind: "charge",
        network: asset.network,
        asset: asset.address,
        units: offer.units,
        payer,
        payee,
        spendableUntil: (yield* Clock.currentTimeMillis) + 60_000,
        // A plan holds all that is needed for a challenge, also in another process.
        data: { proof, challenge: Option.getOrNull(Challenge.fromOffer(offer)) }
      })
    }),
    sign: (plan) =>
      Effect.gen(function*() {
        yield* Ref.update(server, (now) => ({ ...now, signed: now.signed + 1 }))
        const proof = proofOf(plan)
        const payload = { proof, secret: "sealed" }
        return Option.match(challengeOf(plan), {
          onSome: (challenge) => ({
            envelopes: [{ authorization: Credential.format({ challenge, source: "did:test", payload }) }]
          }),
          onNone: () => {
            const [first, ...others] = Option.getOrThrow(Envelope.fromOffer(offered.get(proof)!)).map((it) =>
              Envelope.seal(it, payload)
            )
            return { envelopes: [first!, ...others] }
          }
        })
      }),
    judge: (plan, answer, now) =>
      Option.match(challengeOf(plan), {
        onSome: ({ id, method }) => ChargeVerdict.judge(plan, { method, challengeId: id }, answer, now),
        onNone: () => ExactEvmVerdict.judge(plan, 1, answer, now)
      }),
    reconcile: (plan) =>
      Effect.map(Ref.get(server), ({ over, taken }): Rails.Verdict =>
        taken.has(proofOf(plan))
          ? { _tag: "Settled", units: plan.units, content: false, evidence: evidence("proven", "taken") }
          : over
          ? { _tag: "Void", evidence: evidence("proven", "expired unspent") }
          : { _tag: "Unknown", content: false, evidence: evidence("observed", "unspent"), next: { _tag: "reconcile" } })
  }
  return made
})

// ---------------------------------------------------------------------------------------------------------------------

const noHttp = Layer.succeed(HttpClient.HttpClient, HttpClient.make(() => Effect.die(new Error("no HTTP here"))))

const agent = (policy: Policy.Options = {}, ledger = Ledger.layerMemory({ quiet: true })) =>
  Agent.layer({
    rails: Rails.layerAdd(rail),
    ledger,
    policy: { networks: [asset.network], ...policy },
    assets: [asset],
    sweep: false
  }).pipe(Layer.provide(noHttp))

const worldLayer = Layer.effect(
  World,
  Ref.make<Server>({ turns: [], seen: [], notified: [], taken: new Set(), signed: 0, over: false })
)

interface Program extends Partial<PayingMcp.Options> {
  readonly policy?: Policy.Options
  readonly ledger?: Layer.Layer<Ledger.Ledger>
}

const program = (options: Program) =>
  PayingMcp.layer({ server: "search", ...options }).pipe(
    Layer.provide(Layer.effect(McpClient.Transport)(Effect.map(World, inner))),
    Layer.provideMerge(agent(options.policy, options.ledger))
  )

const paying = (options: Program = {}) => Layer.provideMerge(program(options), worldLayer)

const stored = Schema.fromJsonString(Schema.toCodecJson(Ledger.Authorization))

/** The ledger of a program that ended without a word, as another finds it on disk. */
const onDisk = Effect.map(Ledger.Ledger, (ledger) =>
  Ledger.Ledger.of({
    ...ledger,
    durable: true,
    claim: (key, owner) =>
      Effect.map(
        ledger.claim(key, owner),
        Option.map(({ authorization, purchase }) => ({
          purchase,
          authorization: Schema.decodeSync(stored)(Schema.encodeSync(stored)(authorization))
        }))
      )
  }))

const request = (method: string, params: { readonly [name: string]: unknown }, id: number | string = 7) =>
  McpClient.Transport.use((transport) => transport.request({ jsonrpc: "2.0", id, method, params }))

const call = (args: { readonly [name: string]: unknown } = { q: "x" }, id: number | string = 7) =>
  request("tools/call", { name: "search", arguments: args }, id)

const terms = { amount: "10000", currency: asset.address, recipient: payee, methodDetails: { chainId: 1337 } }
const challenge = { id: "c_1", realm: "shop.example", method: "test", intent: "charge", request: terms }

const demand = (...challenges: ReadonlyArray<unknown>): Said => ({
  error: {
    code: -32042,
    message: "Payment Required",
    data: { httpStatus: 402, challenges: challenges.length === 0 ? [challenge] : challenges }
  }
})
const failing = (code: number, data?: unknown, message = "no"): Said => ({ error: { code, message, data } })
const text = (text: string) => [{ type: "text", text }]
const receipt = { status: "success", method: "test", timestamp: "", reference: "r_1", challengeId: "c_1" }
const content = { result: { content: text("found") } }
const paidContent = { result: { ...content.result, _meta: { "org.paymentauth/receipt": receipt } } }

/** A demand, and what is had for it: servers give each purchase a challenge of its own. */
const sale = (challengeId: string) => {
  const result = { ...content.result, _meta: { "org.paymentauth/receipt": { ...receipt, challengeId } } }
  return { demand: demand({ ...challenge, id: challengeId }), content: { result } }
}

const reasonOf = <A, R>(effect: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(effect), (error) => Option.getOrThrow(PaymentError.find(error)))

const purchases = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({})),
  (all) =>
    all.toReversed().map(({ authorizations, purchase }) => ({
      delivery: purchase.delivery,
      states: authorizations.map(({ state }) => state),
      mismatch: authorizations.some(({ evidence }) => evidence.some((it) => it.mismatch === true))
    }))
)

/** Lets time pass until the fiber has ended. */
const elapse = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 400 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("500 millis")
    return yield* Fiber.join(fiber)
  })

describe("PayingMcp", () => {
  it.effect("pays for a tool, and echoes the challenge as it came", () =>
    Effect.gen(function*() {
      const native = { ...challenge, expires: "2100-01-01T00:00:00Z", opaque: "eyJhIjoiYiJ9", meta: { a: "b" }, x: [1] }
      yield* saying(demand(native), paidContent)
      const response = yield* call()
      assert.deepStrictEqual(response, { jsonrpc: "2.0", id: 7, ...paidContent })
      const { seen: [first, second] } = yield* world
      assert.deepStrictEqual(first?.params, { name: "search", arguments: { q: "x" } })
      assert.notStrictEqual(second?.id, first?.id)
      assert.deepInclude(second?.params, { name: "search", arguments: { q: "x" } })
      const credential = Object(paymentOf(second!))
      assert.deepStrictEqual(credential.challenge, native)
      assert.strictEqual(credential.source, "did:test")
      assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["settled"], mismatch: false }])
    }).pipe(Effect.provide(paying())))

  it.effect("pays for resources and prompts", () =>
    Effect.gen(function*() {
      for (
        const [method, params] of [["resources/read", { uri: "a://me:SECRET@b?key=1" }], ["prompts/get", {
          name: "p"
        }]] as const
      ) {
        const { content, demand } = sale(method)
        yield* saying(demand, content)
        assert.deepInclude(yield* request(method, params), content)
      }
      const ledger = yield* Ledger.Ledger
      assert.sameDeepMembers(
        (yield* ledger.purchases({})).toReversed().map((
          { purchase: { method, origin, path } }
        ) => [origin, method, path]),
        [["mcp://search", "resources/read", "/a%3A%2F%2Fb"], ["mcp://search", "prompts/get", "/p"]]
      )
    }).pipe(Effect.provide(paying())))

  it.effect("pays what a result demands", () =>
    Effect.gen(function*() {
      const required = { "org.paymentauth/payment-required": { challenges: [challenge] } }
      yield* saying({ result: { content: [], isError: true, _meta: required } }, paidContent)
      assert.deepInclude(yield* call(), paidContent)
    }).pipe(Effect.provide(paying())))

  it.effect("keeps the metadata of a request beside the payment", () =>
    Effect.gen(function*() {
      yield* saying(demand(), paidContent)
      yield* request("tools/call", { name: "a", _meta: { progressToken: 3 } })
      const { seen } = yield* world
      assert.strictEqual(meta(seen[1]!)["progressToken"], 3)
    }).pipe(Effect.provide(paying())))

  it.effect.each<readonly [string, Said]>([
    ["content", content],
    ["an error of its own", failing(-32601)],
    ["a complaint about parameters", failing(-32602)],
    ["a failure", failing(-32603)],
    ["a tool's error", { result: { isError: true, content: text("no") } }],
    ["an elicitation that has the code of a demand", failing(-32042, { elicitations: [] })]
  ])("hands on %s where nothing was demanded", ([, said]) =>
    Effect.gen(function*() {
      yield* saying(said)
      assert.deepInclude(yield* call(), said)
      assert.deepStrictEqual(yield* purchases, [])
    }).pipe(Effect.provide(paying())))

  it.effect("leaves everything else alone, whatever it is answered, and pays for no notification", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const response = yield* request("tools/list", { cursor: "1" })
      assert.strictEqual(response.error?.code, -32042)
      yield* McpClient.Transport.use((it) => it.notify({ jsonrpc: "2.0", method: "tools/call", params: { name: "a" } }))
      const { notified, seen } = yield* world
      assert.deepStrictEqual([seen.length, notified.map((it) => it.params)], [1, [{ name: "a" }]])
      assert.deepStrictEqual(yield* credentials, [])
    }).pipe(Effect.provide(paying())))

  // -------------------------------------------------------------------------------------------------------------------
  // What goes wrong after a payment
  // -------------------------------------------------------------------------------------------------------------------

  it.effect.each<readonly [string, Turn, string, string]>([
    ["demands again", demand(), "PaymentUncertain", "unknown"],
    ["demands something else", demand({ ...challenge, id: "c_2" }), "PaymentUncertain", "unknown"],
    ["refuses the payment", failing(-32043, { challenges: [challenge] }), "PaymentRejected", "held"],
    ["cannot read the payment", failing(-32602), "PaymentRejected", "held"],
    ["fails at the payment", failing(-32603), "PaymentUncertain", "unknown"],
    ["says something else", failing(-32000), "PaymentUncertain", "unknown"],
    ["fails, and says nothing of the money", { result: { isError: true, content: [] } }, "PaymentUncertain", "unknown"],
    ["is gone", broken, "PaymentUncertain", "unknown"]
  ])("pays once, and sends nothing more, where the server %s", ([, said, reason, money]) =>
    Effect.gen(function*() {
      yield* saying(demand(), said)
      const error = yield* reasonOf(call())
      assert.deepStrictEqual([error.reason._tag, error.money], [reason, money])
      yield* saying(demand())
      const again = yield* reasonOf(call())
      assert.strictEqual(again.reason._tag, "PaymentUncertain")
      assert.strictEqual((yield* credentials).length, 1)
      assert.strictEqual((yield* world).signed, 1)
    }).pipe(Effect.provide(paying())))

  it.effect("pays anew when it is proven that the first payment was not taken", () =>
    Effect.gen(function*() {
      yield* saying(demand(), failing(-32043, { challenges: [challenge] }))
      yield* reasonOf(call())
      yield* change(() => ({ over: true }))
      yield* saying(demand({ ...challenge, id: "c_2" }), {
        result: { content: [], _meta: { "org.paymentauth/receipt": { ...receipt, challengeId: "c_2" } } }
      })
      yield* call()
      assert.sameDeepMembers((yield* purchases).map(({ states }) => states), [["released"], ["settled"]])
    }).pipe(Effect.provide(paying())))

  it.effect("delivers without a receipt, and holds the money until it is proven what became of it", () =>
    Effect.gen(function*() {
      yield* saying(demand(), content)
      assert.deepInclude(yield* call(), content)
      assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["unknown"], mismatch: false }])
    }).pipe(Effect.provide(paying())))

  it.effect("delivers with the receipt of another challenge, and takes it for no proof", () =>
    Effect.gen(function*() {
      const result = { content: [], _meta: { "org.paymentauth/receipt": { ...receipt, challengeId: "c_9" } } }
      yield* saying(demand(), { result })
      assert.deepInclude(yield* call(), { result })
      assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["unknown"], mismatch: true }])
    }).pipe(Effect.provide(paying())))

  it.effect("delivers what comes with a receipt, even if it says what the next one costs", () =>
    Effect.gen(function*() {
      const _meta = {
        "org.paymentauth/receipt": receipt,
        "org.paymentauth/payment-required": { challenges: [{ ...challenge, id: "c_2" }] }
      }
      const result = { ...content.result, _meta }
      yield* saying(demand(), { result })
      assert.deepInclude(yield* call(), { result })
      assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["settled"], mismatch: false }])
    }).pipe(Effect.provide(paying())))

  it.effect("says that a tool which failed was paid for, and what it said", () =>
    Effect.gen(function*() {
      yield* saying(demand(), { result: { ...paidContent.result, isError: true, content: text("no such city") } })
      const { money, reason } = yield* reasonOf(call())
      assert(reason._tag === "PaidUndelivered")
      assert.deepStrictEqual([money, reason.merchantText], ["spent", "no such city"])
      assert.deepStrictEqual((yield* purchases).map(({ states }) => states), [["settled"]])
    }).pipe(Effect.provide(paying())))

  it.effect("sends the same payment again where the caller says that the call may be repeated", () =>
    Effect.gen(function*() {
      yield* saying(demand(), broken, broken, paidContent)
      const fiber = yield* Effect.forkChild(call())
      assert.deepInclude(yield* elapse(fiber), paidContent)
      const sent = yield* credentials
      assert.strictEqual(sent.length, 3)
      assert.strictEqual(new Set(sent.map((it) => JSON.stringify(it))).size, 1)
      const { seen } = yield* world
      assert.strictEqual(new Set(seen.map(({ id }) => id)).size, 4)
    }).pipe(Effect.provide(paying({ repeatable: (method, { name }) => method === "tools/call" && name === "search" }))))

  it.effect("goes on with the payment of an earlier call, and the challenge that it answers", () =>
    Effect.gen(function*() {
      const native = { ...challenge, extra: { kept: true } }
      yield* saying(demand(native), broken, broken, broken, broken, broken)
      yield* elapse(yield* Effect.forkChild(reasonOf(call())))
      yield* saying(demand({ ...challenge, id: "c_2" }), paidContent)
      assert.deepInclude(yield* call(), paidContent)
      const sent = yield* credentials
      assert.deepStrictEqual(sent.map((it) => Object(it).challenge), Array.from({ length: 6 }, () => native))
      assert.strictEqual(new Set(sent.map((it) => Object(it).payload.proof)).size, 1)
    }).pipe(Effect.provide(paying({ repeatable: () => true }))))

  /** The server's own form of a challenge, with more than is known of one. */
  const whole = {
    z: null,
    ...challenge,
    request: { ...terms, extra: { limit: 3, deep: [{ kept: true }] } },
    opaque: { order: "1", also: "2" },
    meta: { trace: ["a", 1] }
  }

  /** Loses every answer to the payment of a call, and then sells to whoever presents the payment again. */
  const losing = Effect.gen(function*() {
    yield* saying(demand(whole), broken, broken, broken, broken, broken)
    const lost = yield* elapse(yield* Effect.forkChild(reasonOf(call())))
    assert.strictEqual(lost.reason._tag, "PaymentUncertain")
    yield* saying(demand({ ...challenge, id: "c_2" }), paidContent)
  })

  const oneCharge = Effect.gen(function*() {
    const sent = yield* credentials
    assert.strictEqual(sent.length, 6)
    for (const one of sent) {
      assert.deepStrictEqual(Object(one).challenge, whole)
      assert.strictEqual(JSON.stringify(Object(one).challenge), JSON.stringify(whole))
    }
    assert.strictEqual(new Set(sent.map((it) => Object(it).payload.proof)).size, 1)
    assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["settled"], mismatch: false }])
  })

  it.effect("goes on with a payment over a new connection, and echoes the challenge as it came over the lost one", () =>
    Effect.gen(function*() {
      yield* losing
      const reconnected = yield* PayingMcp.make(inner(yield* World), { server: "search", repeatable: () => true })
      const params = { name: "search", arguments: { q: "x" } }
      const response = yield* reconnected.request({ jsonrpc: "2.0", id: 1, method: "tools/call", params })
      assert.deepInclude(response, paidContent)
      yield* oneCharge
    }).pipe(Effect.provide(paying({ repeatable: () => true }))))

  it.effect("goes on with a payment in another process, and echoes the challenge as it came in the one before", () =>
    Effect.gen(function*() {
      yield* losing
      const ledger = Layer.succeed(Ledger.Ledger, yield* onDisk)
      const next = program({ repeatable: () => true, ledger })
      assert.deepInclude(yield* Effect.provide(call(), next, { local: true }), paidContent)
      yield* oneCharge
    }).pipe(Effect.provide(paying({ repeatable: () => true }))))

  it.effect("answers with what a header would tell of a challenge where the ledger does not hold the original", () =>
    Effect.gen(function*() {
      yield* losing
      const ledger = yield* Ledger.Ledger
      const older = Ledger.Ledger.of({
        ...ledger,
        claim: (key, owner) =>
          Effect.map(
            ledger.claim(key, owner),
            Option.map(({ authorization, purchase }) => {
              const { native: _, ...plan } = authorization.plan
              const without = new Ledger.Authorization({ ...authorization, plan: new Rails.Plan(plan) })
              return { purchase, authorization: without }
            })
          )
      })
      const next = program({ repeatable: () => true, ledger: Layer.succeed(Ledger.Ledger, older) })
      assert.deepInclude(yield* Effect.provide(call(), next, { local: true }), paidContent)
      const { meta: _, opaque, z: __, ...known } = whole
      const told = { ...known, opaque: PaymentRequest.encode(opaque) }
      assert.deepStrictEqual(Object((yield* credentials).at(-1)).challenge, told)
    }).pipe(Effect.provide(paying({ repeatable: () => true }))))

  it.effect("reads a resource again by itself, and prompts", () =>
    Effect.gen(function*() {
      for (const [method, params] of [["resources/read", { uri: "a" }], ["prompts/get", { name: "p" }]] as const) {
        const { content, demand } = sale(method)
        yield* saying(demand, broken, content)
        assert.deepInclude(yield* elapse(yield* Effect.forkChild(request(method, params))), content)
      }
      assert.strictEqual((yield* world).signed, 2)
    }).pipe(Effect.provide(paying())))

  it.effect("does not know what became of a payment that it was interrupted at, and pays no second time", () =>
    Effect.gen(function*() {
      const arrived = yield* Deferred.make<void>()
      const cancelled = yield* Deferred.make<void>()
      const never = Deferred.succeed(arrived, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined))
      )
      yield* saying(demand(), never)
      const fiber = yield* Effect.forkChild(call())
      yield* Deferred.await(arrived)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(cancelled)
      assert.deepStrictEqual((yield* purchases).map(({ states }) => states), [["unknown"]])
      yield* saying(demand())
      assert.strictEqual((yield* reasonOf(call())).reason._tag, "PaymentUncertain")
      assert.strictEqual((yield* credentials).length, 1)
    }).pipe(Effect.provide(paying())))

  it.effect("reports once what was paid and not delivered, and begins anew then", () =>
    Effect.gen(function*() {
      yield* saying(demand(), broken)
      yield* reasonOf(call())
      const [sent] = yield* credentials
      yield* change(() => ({ taken: new Set([Object(sent).payload.proof]) }))
      yield* saying(demand())
      assert.strictEqual((yield* reasonOf(call())).reason._tag, "PaidUndelivered")
      const another = sale("c_2")
      yield* saying(another.demand, another.content)
      assert.deepInclude(yield* call(), another.content)
      assert.strictEqual((yield* world).signed, 2)
    }).pipe(Effect.provide(paying())))

  // -------------------------------------------------------------------------------------------------------------------
  // What is not paid
  // -------------------------------------------------------------------------------------------------------------------

  it.effect("pays for no challenge that is too large to be kept", () =>
    Effect.gen(function*() {
      yield* saying(demand({ ...challenge, note: "x".repeat(16_384) }))
      assert.strictEqual((yield* reasonOf(call())).reason._tag, "NoPayableOffer")
    }).pipe(Effect.provide(paying())))

  it.effect("pays no challenge whose numbers may have lost digits", () =>
    Effect.gen(function*() {
      const parsed: unknown = JSON.parse(
        JSON.stringify({ ...terms, limit: 0 }).replace(`"limit":0`, `"limit":${2n ** 60n}`)
      )
      yield* saying(demand({ ...challenge, request: parsed }))
      const { money, reason } = yield* reasonOf(call())
      assert(reason._tag === "PolicyDenied")
      assert.deepStrictEqual([reason.rule, money], ["inexact-number", "unspent"])
      yield* saying(demand({ ...challenge, request: parsed }, challenge), paidContent)
      assert.deepInclude(yield* call(), paidContent)
      const [sent] = yield* credentials
      assert.deepStrictEqual(Object(sent).challenge, challenge)
    }).pipe(Effect.provide(paying())))

  it.effect("pays for no call that carries a payment of its own", () =>
    Effect.gen(function*() {
      for (const key of ["org.paymentauth/credential", "x402/payment"]) {
        yield* saying(demand())
        const { reason } = yield* reasonOf(request("tools/call", { name: "a", _meta: { [key]: {} } }))
        assert(reason._tag === "PolicyDenied")
        assert.strictEqual(reason.rule, "authorization-in-use")
        yield* saying(paidContent)
        yield* request("tools/call", { name: "a", _meta: { [key]: {} } })
      }
    }).pipe(Effect.provide(paying())))

  it.effect("does not pay where the fiber says so", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const response = yield* Effect.provideService(call(), Transport.Unpaid, true)
      assert.strictEqual(response.error?.code, -32042)
    }).pipe(Effect.provide(paying())))

  it.effect.each(
    [
      [{ denyOrigins: ["mcp://search"] }, false],
      [{ denyOrigins: ["search"] }, false],
      [{ denyOrigins: ["https://search"] }, true],
      [{ allowOrigins: ["mcp://search"] }, true],
      [{ allowOrigins: ["mcp://Search"] }, true],
      [{ allowOrigins: ["https://search"] }, false],
      [{ allowOrigins: ["api.example.com"] }, false]
    ] satisfies ReadonlyArray<readonly [Policy.Options, boolean]>
  )("knows a server by its name: %j", ([policy, allowed]) =>
    Effect.gen(function*() {
      yield* saying(demand(), paidContent)
      const result = yield* Effect.result(call())
      assert.strictEqual(result._tag, allowed ? "Success" : "Failure")
      if (result._tag === "Failure") {
        const { reason } = Option.getOrThrow(PaymentError.find(result.failure))
        assert(reason._tag === "PolicyDenied")
        assert.strictEqual(reason.rule, "origin")
        assert.include(reason.detail, "mcp://search")
      }
    }).pipe(Effect.provide(paying({ server: "Search", policy }))))

  it.effect.each(
    [["search", true], ["mcp://search", true], ["https://a.test/mcp?x=1", true], ["", false], ["a b", false], [
      "localhost:3000",
      false
    ], ["file:///a", false]] as const
  )("takes %j for the name of a server, or refuses to begin", ([server, good]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.provide(Effect.void, Layer.fresh(paying({ server }))))
      assert.strictEqual(Exit.isSuccess(exit), good)
    }))

  it.effect("is paid for as its own origin over HTTP, and refused over plain HTTP elsewhere", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const { origin, reason } = yield* reasonOf(call())
      assert(reason._tag === "PolicyDenied")
      assert.deepStrictEqual([origin, reason.rule], ["http://a.test", "plain-http"])
    }).pipe(Effect.provide(paying({ server: "http://a.test/mcp" }))))

  it.effect("fails with an error that no retry of connections repeats, and that tells what happened", () =>
    Effect.gen(function*() {
      yield* saying(demand(), demand())
      const error = yield* Effect.flip(call())
      assert.isTrue(McpClientError.isMcpClientError(error))
      assert.strictEqual(error.reason._tag, "ProtocolError")
      const found = Option.getOrThrow(PaymentError.find(error))
      assert.strictEqual(error.message, found.message)
      assert.isFalse(found.isRetryable)
      assert.strictEqual(found.origin, "mcp://search")
    }).pipe(Effect.provide(paying())))

  it.effect("writes no credential into the ledger, spans or errors", () =>
    Effect.gen(function*() {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* saying(demand(), paidContent, sale("c_2").demand, demand())
      const error = yield* call().pipe(Effect.andThen(Effect.flip(call({ q: "y" }))), Effect.withTracer(tracer))
      const ledger = yield* Ledger.Ledger
      const all = [
        ...(yield* ledger.purchases({})),
        ...spans.map(({ attributes, name, status }) => [name, [...attributes], status]),
        error
      ]
      const written = JSON.stringify(all, (_, value: unknown) => typeof value === "bigint" ? `${value}` : value)
      assert.isAbove(spans.length, 0)
      assert.include(JSON.stringify(yield* credentials), "sealed")
      assert.notInclude(written, "sealed")
    }).pipe(Effect.provide(paying())))

  // -------------------------------------------------------------------------------------------------------------------
  // Which calls are the same purchase
  // -------------------------------------------------------------------------------------------------------------------

  const lost = (args: { readonly [name: string]: unknown }, id?: number) =>
    Effect.gen(function*() {
      yield* saying(sale(`c_${(yield* world).seen.length}`).demand, broken)
      yield* reasonOf(call(args, id))
      return (yield* world).signed
    })

  it.effect("knows a call again by agent, server, method, name and arguments, whatever their order", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* lost({ a: 1, b: { c: [1, 2], d: null } }, 1), 1)
      assert.strictEqual(yield* lost({ b: { d: null, c: [1, 2] }, a: 1 }, 2), 1)
      assert.strictEqual(yield* lost({ a: 1, b: { c: [2, 1], d: null } }), 2)
      assert.strictEqual(yield* lost({ a: "1", b: { c: [1, 2], d: null } }), 3)
      assert.strictEqual(yield* Payment.with(lost({ a: 1, b: { c: [1, 2], d: null } }), { agent: "other" }), 4)
    }).pipe(Effect.provide(paying({ policy: {} }))))

  it.effect("tells servers of one origin apart", () =>
    Effect.gen(function*() {
      yield* saying(demand(), broken)
      yield* reasonOf(call())
      const other = yield* PayingMcp.make(inner(yield* World), { server: "https://a.test/other" })
      const _meta = { "org.paymentauth/receipt": { ...receipt, challengeId: "c_2" } }
      yield* saying(demand({ ...challenge, id: "c_2" }), { result: { content: [], _meta } })
      const params = { name: "search", arguments: { q: "x" } }
      yield* other.request({ jsonrpc: "2.0", id: 1, method: "tools/call", params })
      yield* saying(demand({ ...challenge, id: "c_3" }))
      assert.strictEqual((yield* reasonOf(call())).reason._tag, "PaymentUncertain")
    }).pipe(Effect.provide(paying({ server: "https://a.test/mcp" }))))

  // -------------------------------------------------------------------------------------------------------------------
  // x402
  // -------------------------------------------------------------------------------------------------------------------

  const entry = { scheme: "exact", network: asset.network, asset: asset.address, payTo: payee, maxTimeoutSeconds: 60 }
  const required = {
    x402Version: 2,
    error: "Payment required",
    resource: { url: "mcp://tool/search" },
    accepts: [{ ...entry, amount: "10000", extra: { ...asset.domain } }]
  }
  const settled = {
    result: {
      content: text("found"),
      _meta: { "x402/payment-response": { success: true, transaction: "0x01", network: asset.network, payer } }
    }
  }

  it.effect("pays over x402, with the entry as it came", () =>
    Effect.gen(function*() {
      yield* saying(
        { result: { isError: true, structuredContent: required, content: text(JSON.stringify(required)) } },
        settled
      )
      assert.deepInclude(yield* call(), settled)
      const { seen } = yield* world
      const payment = Object(meta(seen[1]!)["x402/payment"])
      assert.deepInclude(payment, { x402Version: 2, accepted: required.accepts[0], resource: required.resource })
      assert.strictEqual(payment.payload.secret, "sealed")
      assert.deepStrictEqual(yield* purchases, [{ delivery: "delivered", states: ["settled"], mismatch: false }])
    }).pipe(Effect.provide(paying())))

  it.effect("pays over x402 where the challenges beside it may have lost digits", () =>
    Effect.gen(function*() {
      const challenges = [{ ...challenge, request: { ...terms, limit: 0.5 } }]
      yield* saying(failing(-32042, { httpStatus: 402, challenges, x402: required }), settled)
      assert.deepInclude(yield* call(), settled)
    }).pipe(Effect.provide(paying())))

  it.effect("pays over the first version of x402", () =>
    Effect.gen(function*() {
      const accepts = [{ ...entry, network: "base-sepolia", maxAmountRequired: "10000" }]
      yield* saying(failing(402, { x402Version: 1, error: "Payment required", accepts }), settled)
      const { reason } = yield* reasonOf(call())
      // The rail of this test pays on another network; that the offer was read is enough here.
      assert(reason._tag === "PolicyDenied")
      assert.strictEqual(reason.rule, "network")
    }).pipe(Effect.provide(paying())))

  it.effect.each<readonly [string, Turn, string]>([
    ["demands again", { result: { isError: true, structuredContent: required } }, "PaymentUncertain"],
    ["fails to settle", {
      result: {
        isError: true,
        structuredContent: {
          ...required,
          "x402/payment-response": { success: false, errorReason: "insufficient_funds" }
        }
      }
    }, "PaymentUncertain"],
    ["refuses", {
      result: { isError: true, structuredContent: { ...required, error: "invalid_exact_evm_insufficient_balance" } }
    }, "PaymentRejected"],
    ["takes the money and fails", { result: { ...settled.result, isError: true } }, "PaidUndelivered"]
  ])("pays once over x402 where the server %s", ([, said, reason]) =>
    Effect.gen(function*() {
      yield* saying({ result: { isError: true, structuredContent: required } }, said)
      assert.strictEqual((yield* reasonOf(call())).reason._tag, reason)
      assert.strictEqual((yield* world).signed, 1)
    }).pipe(Effect.provide(paying())))

  // -------------------------------------------------------------------------------------------------------------------
  // Over HTTP
  // -------------------------------------------------------------------------------------------------------------------

  interface Asked {
    readonly url: string
    readonly paid: boolean
    readonly body: string
  }

  class Web extends Context.Service<Web, Ref.Ref<ReadonlyArray<Asked>>>()("test/Web") {}

  type Answering = (asked: Asked, at: number) => Response | Error | undefined

  /** Answers JSON-RPC as the world says, unless the test has a status and headers for this request. */
  const web = (answer: Answering) =>
    Layer.effect(
      HttpClient.HttpClient,
      Effect.gen(function*() {
        const server = yield* World
        const asked = yield* Web
        const transport = inner(server)
        return HttpClient.make((request, url) =>
          Effect.gen(function*() {
            const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
            const one = { url: url.href, paid: request.headers["payment-signature"] !== undefined, body }
            const at = yield* Ref.modify(asked, (all) => [all.length, [...all, one]])
            const response = answer(one, at)
            if (response instanceof Error) {
              const reason = new HttpClientError.TransportError({ request, cause: response })
              return yield* new HttpClientError.HttpClientError({ reason })
            }
            return HttpClientResponse.fromWeb(
              request,
              response ?? Response.json(yield* transport.request(JSON.parse(body)).pipe(Effect.orDie))
            )
          })
        )
      })
    )

  const overHttp = (answer: Answering, transform = (client: HttpClient.HttpClient): HttpClient.HttpClient => client) =>
    PayingMcp.layerHttp({ url: "https://a.test/mcp", protocol: McpProtocol.v2025_11_25 }).pipe(
      Layer.provideMerge(
        Agent.layer({
          rails: Rails.layerAdd(rail),
          ledger: Ledger.layerMemory({ quiet: true }),
          policy: { networks: [asset.network] },
          assets: [asset],
          sweep: false
        })
      ),
      Layer.provide(Layer.effect(HttpClient.HttpClient)(Effect.map(HttpClient.HttpClient, transform))),
      Layer.provide(web(answer)),
      Layer.provideMerge(worldLayer),
      Layer.provideMerge(Layer.effect(Web, Ref.make<ReadonlyArray<Asked>>([])))
    )

  const asked = Effect.flatMap(Web, Ref.get)

  it.effect("pays a server that is reached over HTTP, in one way only", () =>
    Effect.gen(function*() {
      yield* saying(demand(), paidContent)
      assert.deepInclude(yield* call(), paidContent)
      assert.deepStrictEqual((yield* asked).map(({ paid }) => paid), [false, false])
      const ledger = yield* Ledger.Ledger
      assert.deepStrictEqual((yield* ledger.purchases({})).map(({ purchase }) => purchase.origin), ["https://a.test"])
    }).pipe(Effect.provide(overHttp(() => undefined))))

  it.effect("tells the calls of one account from those of another, which its headers name", () =>
    Effect.gen(function*() {
      yield* saying(demand(), broken)
      yield* reasonOf(call())
      const other = { url: "https://a.test/mcp", protocol: McpProtocol.v2025_11_25, headers: { "x-account": "b" } }
      const { content, demand: another } = sale("c_2")
      yield* saying(another, content)
      const layer = PayingMcp.layerHttp(other).pipe(Layer.provide(web(() => undefined)))
      assert.deepInclude(yield* Effect.provide(call(), layer), content)
    }).pipe(Effect.provide(overHttp((_, at) => at === 1 ? new Response(null, { status: 500 }) : undefined))))

  it.effect("pays a demand that comes with a status of HTTP", () =>
    Effect.gen(function*() {
      yield* saying(paidContent)
      assert.deepInclude(yield* call(), paidContent)
    }).pipe(Effect.provide(overHttp((_, at) =>
      at === 0 ? Response.json({ jsonrpc: "2.0", id: 7, ...demand() }, { status: 402 }) : undefined
    ))))

  it.effect("leaves a demand of HTTP to the client below, and pays nothing on top of that", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const response = yield* call()
      assert.strictEqual(response.error?.code, -32042)
      assert.deepStrictEqual((yield* asked).map(({ paid }) => paid), [false, false, true])
      assert.strictEqual((yield* world).signed, 1)
    }).pipe(Effect.provide(overHttp(({ paid }) =>
      paid ? undefined : new Response(null, {
        status: 402,
        headers: { "payment-required": btoa(JSON.stringify({ ...required, resource: { url: "https://a.test/mcp" } })) }
      })
    ))))

  it.effect("sends no payment after a redirect", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const { reason } = yield* reasonOf(call())
      assert.strictEqual(reason._tag, "PaymentUncertain")
      const all = yield* asked
      assert.deepStrictEqual(all.map(({ url }) => url), ["https://a.test/mcp", "https://a.test/mcp"])
      assert.include(all[1]?.body, "org.paymentauth/credential")
    }).pipe(Effect.provide(overHttp((_, at) =>
      at === 1 ? new Response(null, { status: 307, headers: { location: "https://evil.test/" } }) : undefined
    ))))

  it.effect("pays nobody to whom the client below was redirected", () =>
    Effect.gen(function*() {
      yield* saying(demand(), demand())
      assert.strictEqual((yield* call()).error?.code, -32042)
      assert.include((yield* asked).map(({ url }) => url), "https://evil.test/")
      assert.strictEqual((yield* world).signed, 0)
    }).pipe(Effect.provide(overHttp(
      ({ url }) =>
        url.startsWith("https://a.test")
          ? new Response(null, { status: 307, headers: { location: "https://evil.test/" } })
          : undefined,
      HttpClient.followRedirects(3)
    ))))

  it.effect("tells how a payment of the client below failed, which is the same purchase in the next equal call", () =>
    Effect.gen(function*() {
      for (const id of [7, 8]) {
        const { money, reason } = yield* reasonOf(call({ q: "x" }, id))
        assert.deepStrictEqual([reason._tag, money], ["PaymentUncertain", "unknown"])
      }
      assert.strictEqual((yield* world).signed, 1)
    }).pipe(Effect.provide(overHttp(({ paid }) =>
      paid ? new Error("reset") : new Response(null, {
        status: 402,
        headers: { "payment-required": btoa(JSON.stringify({ ...required, resource: { url: "https://a.test/mcp" } })) }
      })
    ))))

  it.effect("asks where a server redirects to, and pays nobody there", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      assert.strictEqual((yield* call()).error?.code, -32042)
      assert.deepStrictEqual((yield* asked).map(({ url }) => url), [
        "https://a.test/mcp",
        "https://a.test/mcp",
        "https://a.test/mcp/"
      ])
    }).pipe(Effect.provide(overHttp(({ url }) =>
      url.endsWith("/") ? undefined : new Response(null, { status: 307, headers: { location: "/mcp/" } })
    ))))

  it.effect("waits as long as a rate limit says where a call may be repeated", () =>
    Effect.gen(function*() {
      yield* saying(demand(), paidContent)
      const fiber = yield* Effect.forkChild(request("resources/read", { uri: "a" }))
      yield* TestClock.adjust("900 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      assert.deepInclude(yield* Fiber.join(fiber), paidContent)
    }).pipe(Effect.provide(overHttp((_, at) =>
      at === 1 ? new Response(null, { status: 429, headers: { "retry-after": "1" } }) : undefined
    ))))

  it.effect("takes no refused connection for proof: it may be that of a reply to the server", () =>
    Effect.gen(function*() {
      yield* saying(demand())
      const { money, reason } = yield* reasonOf(call())
      assert.deepStrictEqual([reason._tag, money], ["PaymentUncertain", "unknown"])
    }).pipe(Effect.provide(overHttp((_, at) => {
      if (at === 0) return undefined
      if (at > 1) return Object.assign(new Error("refused"), { code: "ECONNREFUSED", syscall: "connect" })
      const ping = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" })
      return new Response(`data: ${ping}\n\n`, { headers: { "content-type": "text/event-stream" } })
    }))))

  // -------------------------------------------------------------------------------------------------------------------
  // Under a client
  // -------------------------------------------------------------------------------------------------------------------

  it.effect("is a transport like any other: a client on top of it pays and does not know", () =>
    Effect.gen(function*() {
      const serverInfo = { name: "says it is another", version: "1" }
      yield* saying(
        { result: { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo } },
        { result: { tools: [{ name: "search", inputSchema: { type: "object" } }] } },
        demand(),
        paidContent
      )
      const result = yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* McpClient.make({ name: "agent", version: "1" })
        const [tool] = yield* client.listTools()
        return yield* client.callTool({ tool: tool!, arguments: { q: "x" } })
      }))
      assert.deepInclude(result.content[0], { type: "text", text: "found" })
      const { seen } = yield* world
      assert.deepStrictEqual(seen[0]?.params?.capabilities, {
        experimental: { payment: { methods: { test: { intents: ["charge"] } } } }
      })
      const ledger = yield* Ledger.Ledger
      assert.deepStrictEqual((yield* ledger.purchases({})).map(({ purchase }) => purchase.origin), ["mcp://search"])
    }).pipe(Effect.provide(paying())))
})
