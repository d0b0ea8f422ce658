/**
 * Tests of programs that pay, without a chain and without a key: the real payment, budget, policy, sessions and ledger,
 * behind a fake rail and a scripted merchant.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Agent from "../Agent.ts"
import * as Amount from "../Amount.ts"
import * as Asset from "../Asset.ts"
import * as Budget from "../Budget.ts"
import type { Answer } from "../Demand.ts"
import * as Ledger from "../Ledger.ts"
import type * as Policy from "../Policy.ts"
import * as Rails from "../Rails.ts"

/**
 * The currency of the scripted merchant: a dollar of a network that exists only here.
 *
 * @category constants
 * @since 0.1.0
 */
export const asset: Asset.Asset = new Asset.Asset({
  network: "eip155:1337",
  address: "0x00000000000000000000000000000000000000aa",
  symbol: "TEST",
  decimals: 6,
  usd: true,
  testnet: true,
  domain: { name: "Test Dollar", version: "1" }
})

const payer = "0x00000000000000000000000000000000000000a1"
const payee = "0x00000000000000000000000000000000000000b2"

/**
 * How the merchant misbehaves.
 *
 * - `refuse`: says no, and takes nothing.
 * - `refuse-and-take`: says no, and takes the money all the same.
 * - `take-and-cut`: takes the money, and the connection breaks before the answer.
 * - `take-and-fail`: takes the money, and answers 500.
 * - `take-and-demand`: takes the money, and answers with a fresh demand.
 * - `receipt-only`: delivers with a receipt, and takes nothing.
 * - `cut`: the connection breaks; nothing is taken.
 * - `refuse-connection`: the connection is refused before anything is sent.
 * - `unavailable`: answers 503.
 * - `rate-limit`: answers 429 with `Retry-After: 1`.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault =
  | "refuse"
  | "refuse-and-take"
  | "take-and-cut"
  | "take-and-fail"
  | "take-and-demand"
  | "receipt-only"
  | "cut"
  | "refuse-connection"
  | "unavailable"
  | "rate-limit"

/**
 * One thing that the merchant sells, or gives away.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route {
  readonly path: string
  readonly method?: string
  /** In US dollars; absent: free. */
  readonly price?: string
  /** The JSON that is delivered. */
  readonly answer: unknown
  readonly status?: number
  /** What goes wrong at the first paid requests, one after the other. */
  readonly faults?: ReadonlyArray<Fault>
}

/**
 * What the merchant saw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly method: string
  readonly path: string
  /** Whether a credential came with it. */
  readonly paid: boolean
}

/**
 * The scripted merchant, for assertions.
 *
 * @category services
 * @since 0.1.0
 */
export class Merchant extends Context.Service<Merchant, {
  /** Every request, in order. */
  readonly requests: Effect.Effect<ReadonlyArray<Seen>>
  /** Micro-dollars that were taken, one entry for each authorisation that was. */
  readonly charges: Effect.Effect<ReadonlyArray<bigint>>
  /** From now on unspent authorisations can be proven void: their time is over. */
  readonly expireAuthorizations: Effect.Effect<void>
}>()("effect-mpp/testing/Merchant") {}

/**
 * What the agent under test is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly merchant: ReadonlyArray<Route>
  /** Default: `https://merchant.test`. */
  readonly origin?: string
  readonly budget?: Budget.Plan
  readonly policy?: Policy.Options
  readonly agentId?: string
  /** Where it is written down. Default: memory. */
  readonly ledger?: Layer.Layer<Ledger.Ledger>
}

/** For how long an authorisation of the fake rail can be taken. */
const validityMillis = 60_000

interface World {
  readonly seen: ReadonlyArray<Seen>
  /** What was taken, by nonce: an authorisation is spent at most once. */
  readonly taken: ReadonlyMap<string, bigint>
  readonly faults: ReadonlyMap<string, number>
  readonly expired: boolean
}

const encode = (value: unknown) => Base64.encode(JSON.stringify(value))

const demand = (route: Route, url: URL, error?: string) => ({
  x402Version: 2,
  ...(error === undefined ? {} : { error }),
  resource: { url: url.href },
  accepts: [{
    scheme: "exact",
    network: asset.network,
    amount: Option.getOrElse(Amount.parseUsd(route.price ?? "0"), () => 0n).toString(),
    asset: asset.address,
    payTo: payee,
    maxTimeoutSeconds: 60,
    extra: asset.domain
  }]
})

const serve = (world: Ref.Ref<World>, options: Options) =>
  HttpClient.make((request, url) =>
    Effect.gen(function*() {
      const origin = options.origin ?? "https://merchant.test"
      const route = options.merchant.find((one) =>
        one.path === url.pathname && (one.method ?? "GET") === request.method
      )
      const credential = request.headers["payment-signature"]
      yield* Ref.update(world, (now) => ({
        ...now,
        seen: [...now.seen, { method: request.method, path: url.pathname, paid: credential !== undefined }]
      }))
      const answer = (status: number, headers: Record<string, string>, body?: unknown) =>
        HttpClientResponse.fromWeb(
          request,
          new Response(body === undefined ? null : JSON.stringify(body), {
            status,
            headers: { "content-type": "application/json", ...headers }
          })
        )
      if (route === undefined || url.origin !== origin) return answer(404, {}, { error: "nothing here" })
      if (route.price === undefined) return answer(route.status ?? 200, {}, route.answer)
      const asked = (error?: string) => answer(402, { "payment-required": encode(demand(route, url, error)) }, {})
      if (credential === undefined) return asked()
      const price = Option.getOrElse(Amount.parseUsd(route.price), () => 0n)
      const fault = yield* Ref.modify(world, (now) => {
        const count = now.faults.get(route.path) ?? 0
        return [route.faults?.[count], { ...now, faults: new Map(now.faults).set(route.path, count + 1) }]
      })
      /** Takes the money if this authorisation is unspent; a second time it is none. */
      const take = Ref.modify(
        world,
        (now): readonly [boolean, World] =>
          now.taken.has(credential)
            ? [false, now]
            : [true, { ...now, taken: new Map(now.taken).set(credential, price) }]
      )
      const receipt = {
        "payment-response": encode({ success: true, transaction: "0x01", network: asset.network, payer })
      }
      switch (fault) {
        case undefined:
          return (yield* take)
            ? answer(route.status ?? 200, receipt, route.answer)
            : asked("invalid_exact_evm_nonce_already_used")
        case "refuse":
          return asked("invalid_exact_evm_insufficient_balance")
        case "refuse-and-take":
          yield* take
          return asked("invalid_exact_evm_insufficient_balance")
        case "take-and-cut":
          yield* take
          return yield* broken(request, "ECONNRESET")
        case "take-and-fail":
          yield* take
          return answer(500, receipt, { error: "handler failed" })
        case "take-and-demand":
          yield* take
          return asked()
        case "receipt-only":
          return answer(route.status ?? 200, receipt, route.answer)
        case "cut":
          return yield* broken(request, "ECONNRESET")
        case "refuse-connection":
          return yield* broken(request, "ECONNREFUSED")
        case "unavailable":
          return answer(503, {}, { error: "unavailable" })
        case "rate-limit":
          return answer(429, { "retry-after": "1" }, { error: "slow down" })
      }
    })
  )

const broken = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request,
        cause: Object.assign(new Error(code), { code, syscall: code === "ECONNREFUSED" ? "connect" : "read" })
      })
    })
  )

const evidence = (rank: Rails.Rank, what: string) => new Rails.Evidence({ rank, what })

/** Pays `exact` offers in the test currency with nonces; the chain that it asks is the merchant's own book. */
const fakeRail = (world: Ref.Ref<World>) =>
  Effect.gen(function*() {
    const random = yield* SecureRandom.SecureRandom
    const status = (answer: Answer) => answer.headers["payment-response"] !== undefined
    const rail: Rails.Rail = {
      name: "test/exact",
      payer,
      steps: 1,
      repeats: true,
      session: Option.none(),
      accepts: (offer) =>
        offer.protocol === "x402" && offer.network === asset.network
          ? Result.succeed(asset)
          : Result.fail({ why: "not the test network" }),
      plan: Effect.fnUntraced(function*(offer) {
        return new Rails.Plan({
          rail: "test/exact",
          kind: "charge",
          network: asset.network,
          asset: asset.address,
          units: offer.units,
          payer,
          payee: offer.payee,
          spendableUntil: Math.floor(yield* Clock.currentTimeMillis) + validityMillis,
          data: { nonce: yield* random.uuidV4() }
        })
      }),
      sign: (plan) =>
        Effect.succeed({ envelopes: [{ "payment-signature": Redacted.make(JSON.stringify(plan.data)) }] }),
      judge: (plan, answer) => {
        const receipt = status(answer)
        if (answer.status < 300) {
          return receipt
            ? { _tag: "Settled", units: plan.units, content: true, evidence: evidence("claimed", "receipt") }
            : {
              _tag: "Unknown",
              content: true,
              evidence: evidence("claimed", "no receipt"),
              next: { _tag: "reconcile" }
            }
        }
        if (receipt) {
          return { _tag: "Settled", units: plan.units, content: false, evidence: evidence("claimed", "receipt") }
        }
        if (answer.status === 402) {
          return refusal(answer) === "invalid_exact_evm_insufficient_balance"
            ? { _tag: "Rejected", problem: "insufficient_balance", evidence: evidence("claimed", "refused") }
            : { _tag: "Unknown", content: false, evidence: evidence("claimed", "demand"), next: { _tag: "reconcile" } }
        }
        return {
          _tag: "Unknown",
          content: false,
          evidence: evidence("claimed", `status ${answer.status}`),
          next: answer.status >= 500 || answer.status === 429 ? { _tag: "resend" } : { _tag: "reconcile" }
        }
      },
      reconcile: (plan) =>
        Effect.map(Ref.get(world), ({ expired, taken }): Rails.Verdict =>
          taken.has(JSON.stringify(plan.data))
            ? { _tag: "Settled", units: plan.units, content: false, evidence: evidence("proven", "taken") }
            : expired
            ? { _tag: "Void", evidence: evidence("proven", "expired unspent") }
            : {
              _tag: "Unknown",
              content: false,
              evidence: evidence("observed", "unspent"),
              next: { _tag: "reconcile" }
            })
    }
    return rail
  })

const refusal = (answer: Answer): string | undefined => {
  const decoded = Base64.decodeString(answer.headers["payment-required"] ?? "")
  if (Result.isFailure(decoded)) return undefined
  const parsed: { readonly error?: string } = JSON.parse(decoded.success)
  return parsed.error
}

/**
 * A paying agent in front of a scripted merchant.
 *
 * **Example** (A program that stops at its budget)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as HttpClient from "effect/http/HttpClient"
 * import * as PaymentError from "effect-mpp/PaymentError"
 * import * as AgentTest from "effect-mpp/testing/AgentTest"
 *
 * const program = Effect.gen(function*() {
 *   const client = yield* HttpClient.HttpClient
 *   const cheap = yield* client.get("https://merchant.test/a")
 *   const dear = yield* Effect.flip(client.get("https://merchant.test/dear"))
 *   return [cheap.status, PaymentError.find(dear)._tag]
 * })
 *
 * const merchant = [{ path: "/a", price: "0.01", answer: {} }, { path: "/dear", price: "9.00", answer: {} }]
 * await Effect.runPromise(program.pipe(Effect.provide(AgentTest.layer({ merchant })))) // => [200, "Some"]
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Agent.Agent | Merchant> =>
  assemble(options, (world) => Layer.succeed(HttpClient.HttpClient, serve(world, options)))

/**
 * The same agent in front of a client of the test's own, which answers as it likes. Its rail pays x402 offers in
 * {@link asset}; the chain that it asks knows of no payment.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOver = <E, R>(
  options: Omit<Options, "merchant" | "origin">,
  client: Layer.Layer<HttpClient.HttpClient, E, R>
): Layer.Layer<Agent.Agent | Merchant, E, R> => assemble({ ...options, merchant: [] }, () => client)

const assemble = <E, R>(
  options: Options,
  client: (world: Ref.Ref<World>) => Layer.Layer<HttpClient.HttpClient, E, R>
): Layer.Layer<Agent.Agent | Merchant, E, R> =>
  Layer.unwrap(
    Effect.map(
      Ref.make<World>({ seen: [], taken: new Map(), faults: new Map(), expired: false }),
      (world) =>
        Agent.layer({
          budget: options.budget ?? Budget.research,
          rails: Rails.layerAdd(fakeRail(world)),
          ledger: options.ledger ?? Ledger.layerMemory({ quiet: true }),
          policy: { networks: [asset.network], ...options.policy },
          assets: [asset],
          sweep: false,
          ...(options.agentId === undefined ? {} : { agentId: options.agentId })
        }).pipe(
          Layer.provide(client(world)),
          Layer.merge(Layer.succeed(Merchant, {
            requests: Effect.map(Ref.get(world), ({ seen }) => seen),
            charges: Effect.map(Ref.get(world), ({ taken }) => [...taken.values()]),
            expireAuthorizations: Ref.update(world, (now) => ({ ...now, expired: true }))
          }))
        )
    )
  )
