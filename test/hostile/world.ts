/**
 * A paying agent in a hostile world: the real rails, ledger, sessions and reconciler, in front of a merchant that does as
 * its script says, over a chain and a session endpoint that do as they are told.
 *
 * Whatever a test is about, in the end the books are audited, and nothing that was printed may hold a secret.
 */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type * as Tracer from "effect/Tracer"
import * as Agent from "../../src/Agent.ts"
import type * as Asset from "../../src/Asset.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as SessionAuthority from "../../src/merchant/SessionAuthority.ts"
import type * as Policy from "../../src/Policy.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as Wallet from "../../src/Wallet.ts"
import { ledgerOfTests } from "../sql/temporary.ts"
import { bodyOf, type Books, origin, privateKey, run, start, sum, Watch } from "./audit.ts"
import { network, ScriptedChain } from "./chain.ts"
import * as Merchant from "./merchant.ts"

export {
  authorizations,
  buy,
  deliveries,
  failure,
  fetch,
  get,
  idle,
  order,
  origin,
  outcome,
  pass,
  patiently,
  price,
  print,
  privateKey,
  standing,
  start,
  states,
  sweep,
  url
} from "./audit.ts"

export const rpcs: ReadonlyArray<string> = [
  "https://rpc.test/key-of-the-first-node",
  "https://rpc2.test/key-of-the-second"
]
export const endpoint = "https://pay.test/session"
export const credential = "tempo_live_SECRETcredential"
export const wallet = Wallet.layerPrivateKey(Redacted.make(privateKey))

/** A call of the session endpoint, and its honest answer. */
export type Endpoint = (call: {
  readonly nth: number
  readonly request: HttpClientRequest.HttpClientRequest
  readonly honest: Effect.Effect<Response>
}) => Effect.Effect<Merchant.Reply>

export interface Options extends Merchant.Shop {
  /** Other hosts, each with a merchant of its own. */
  readonly others?: { readonly [host: string]: Merchant.Shop }
  /** Any other server. */
  readonly elsewhere?: (request: HttpClientRequest.HttpClientRequest, url: URL) => Merchant.Reply
  readonly endpoint?: Endpoint
  /** How many nodes are configured. Default: one. */
  readonly nodes?: number
  readonly budget?: Budget.Plan
  readonly policy?: Policy.Options
  readonly assets?: ReadonlyArray<Asset.Asset>
  /** Where sessions may be opened. Default: at the merchant. */
  readonly sessionOrigins?: ReadonlyArray<string>
  /** Prefixes of paths that share one tariff. */
  readonly attach?: ReadonlyArray<string>
  readonly ledger?: (inner: Ledger.Ledger["Service"]) => Ledger.Ledger["Service"]
  readonly transformClient?: (client: HttpClient.HttpClient) => HttpClient.HttpClient
  readonly wallet?: Layer.Layer<Wallet.Wallet, unknown>
  /** What base units on the chain are worth. */
  readonly inMicroDollars?: (units: bigint) => bigint
}

export interface World {
  readonly chain: ScriptedChain
  readonly authority: SessionAuthority.SessionAuthority["Service"]
  /** What the merchants saw, in order. */
  readonly seen: ReadonlyArray<Merchant.Seen>
  /** What the session endpoint saw, in order. */
  readonly calls: ReadonlyArray<{ readonly method: string; readonly url: string }>
  /** How often the wallet has signed a payment. */
  readonly signatures: () => number
  /** Everything that was printed: spans, logs, errors. */
  readonly printed: ReadonlyArray<string>
  readonly print: (texts: ReadonlyArray<string>) => void
  readonly spans: () => ReadonlyArray<Tracer.NativeSpan>
  /** Requests that carried a credential. */
  readonly paid: () => ReadonlyArray<Merchant.Seen>
  /** What moved in all: on the chain and at the session endpoint, in micro-dollars. */
  readonly moved: Effect.Effect<bigint>
  /** What was taken for payments of these nonces on the chain, in micro-dollars. */
  readonly takenFor: (nonces: ReadonlySet<string | undefined>) => bigint
  /** Remembers what must never be printed. */
  readonly secret: (text: string) => void
}

// ---------------------------------------------------------------------------------------------------------------------
// The world
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Runs a program in a hostile world, and audits it.
 */
export const hostile = (
  options: Options,
  program: (world: World) => Effect.Effect<unknown, unknown, Agent.Agent | Scope.Scope>
): Effect.Effect<void, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    yield* TestClock.setTime(start)
    const chain = new ScriptedChain(start / 1000)
    const authority = yield* SessionAuthority.SessionAuthority
    const app = yield* HttpRouter.toHttpEffect(SessionAuthority.routes)
    const seen: Array<Merchant.Seen> = []
    const calls: Array<{ readonly method: string; readonly url: string }> = []
    const watch = new Watch([privateKey, privateKey.slice(2), credential])
    let signatures = 0

    const shops = new Map([
      [new URL(origin).host, Merchant.serve(options, { chain, authority, seen })],
      ...Object.entries(options.others ?? {}).map(([host, shop]) =>
        [host, Merchant.serve(shop, { chain, authority, seen })] as const
      )
    ])

    const honestEndpoint = (request: HttpClientRequest.HttpClientRequest) =>
      app.pipe(
        Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromClientRequest(request)),
        Effect.map((response) => HttpServerResponse.toWeb(response)),
        Effect.provideService(SessionAuthority.SessionAuthority, authority),
        Effect.scoped,
        Effect.orDie
      )

    const client = HttpClient.make((request, url) => {
      watch.remember(request.headers)
      if (url.hostname.startsWith("rpc")) {
        const call = JSON.parse(bodyOf(request)) as { readonly method: string; readonly params: ReadonlyArray<unknown> }
        return Clock.currentTimeMillis.pipe(
          Effect.flatMap((now) => chain.answer(url.hostname, Math.floor(now / 1000), call.method, call.params)),
          Effect.match({
            onFailure: (): Merchant.Reply => "refused",
            onSuccess: (answer) => new Response(JSON.stringify(answer))
          }),
          Effect.flatMap((reply) => Merchant.deliver(request, reply))
        )
      }
      if (url.href.startsWith(endpoint)) {
        const nth = calls.length
        calls.push({ method: request.method, url: url.href })
        const honest = honestEndpoint(request)
        return Effect.flatMap(
          options.endpoint?.({ nth, request, honest }) ?? honest,
          (reply) => Merchant.deliver(request, reply)
        )
      }
      const shop = shops.get(url.host)
      if (shop !== undefined) return shop(request, url)
      seen.push({
        at: 0,
        method: request.method,
        url: url.href,
        headers: request.headers,
        authorization: undefined,
        token: undefined
      })
      return Merchant.deliver(request, options.elsewhere?.(request, url) ?? new Response(null, { status: 404 }))
    })

    const counted = Effect.map(Wallet.Wallet, (wallet) =>
      Wallet.Wallet.of({
        ...wallet,
        signTypedData: (data) => {
          signatures++
          return wallet.signTypedData(data)
        }
      }))
    const counting = Layer.effect(Wallet.Wallet, counted).pipe(
      Layer.provide(options.wallet ?? wallet)
    )
    // It is looked at after the agent has ended.
    const kept = Context.get(yield* Layer.build(ledgerOfTests), Ledger.Ledger)
    const agent = Agent.layer({
      budget: options.budget ?? Budget.research,
      rails: Layer.mergeAll(
        Layer.mergeAll(ExactEvm.layer(), EvmCharge.layer()).pipe(Layer.provide(counting)),
        TokenSession.layer({
          credential: Redacted.make(credential),
          endpoint,
          origins: options.sessionOrigins ?? [origin]
        })
      ),
      ledger: Layer.effect(Ledger.Ledger, Effect.map(Ledger.Ledger, options.ledger ?? ((it) => it))).pipe(
        Layer.provide(Layer.succeed(Ledger.Ledger, kept))
      ),
      policy: { networks: [network], ...options.policy },
      assets: options.assets ?? [],
      rpc: { [network]: rpcs.slice(0, options.nodes ?? 1) },
      sweep: false,
      ...(options.attach === undefined ? {} : { attach: options.attach }),
      ...(options.transformClient === undefined ? {} : { transformClient: options.transformClient })
    }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))

    const moved = Effect.map(authority.audit, ({ moved }) =>
      sum([...chain.moved.map(options.inMicroDollars ?? ((units) => units)), ...moved.values()]))

    const world: World = {
      chain,
      authority,
      seen,
      calls,
      printed: watch.printed,
      print: (texts) =>
        void watch.printed.push(...texts),
      spans: () => watch.spans,
      moved,
      takenFor: (nonces) =>
        sum(
          chain.transfers.filter((it) => nonces.has(it.authorization.nonce))
            .map((it) => (options.inMicroDollars ?? ((units) => units))(BigInt(it.authorization.value)))
        ),
      signatures: () => signatures,
      paid: () => seen.filter((it) => it.authorization !== undefined || it.token !== undefined),
      secret: (text) => void watch.secrets.add(text)
    }

    const nonceOf = ({ plan }: Ledger.Authorization) =>
      (plan.data as { readonly authorization?: { readonly nonce: string } }).authorization?.nonce
    const books: Books = { moved, takenFor: (authorizations) => world.takenFor(new Set(authorizations.map(nonceOf))) }
    const ledger = yield* watch.over(run(agent, books, program(world)))
    if (options.endpoint === undefined) yield* auditClosed(ledger, world)
    watch.auditSecrets()
  })).pipe(Effect.provide(Authority))

const Authority = SessionAuthority.layer({
  accounts: [{ credential: Redacted.make(credential), balanceUsd: 100_000_000n }]
}).pipe(Layer.provide(SecureRandom.layerWebCrypto))

/** The program has ended: an endpoint that answered has nothing reserved any more, and both say the same of what was spent. */
const auditClosed = Effect.fnUntraced(function*(ledger: Ledger.Ledger["Service"], { authority }: World) {
  const { accounts } = yield* authority.audit
  assert.strictEqual(accounts[0]!.reservedUsd, 0n, "a session was left open")
  const sessions = yield* ledger.sessions({})
  assert.strictEqual(sum(sessions.map((it) => it.spentUsd)), accounts[0]!.spentUsd, "ledger and endpoint disagree")
})
