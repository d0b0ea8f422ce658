/**
 * A paying agent in a hostile world: the real rails, ledger, sessions and reconciler, in front of a merchant that does as
 * its script says, over a chain and a session endpoint that do as they are told.
 *
 * Whatever a test is about, in the end the books are audited, and nothing that was printed may hold a secret.
 */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import * as Agent from "../../src/Agent.ts"
import type * as Asset from "../../src/Asset.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as SessionAuthority from "../../src/merchant/SessionAuthority.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import type * as Policy from "../../src/Policy.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as Wallet from "../../src/Wallet.ts"
import { network, ScriptedChain } from "./chain.ts"
import * as Merchant from "./merchant.ts"

export const origin = "https://merchant.test"
export const url = `${origin}/data`
export const rpcs: ReadonlyArray<string> = [
  "https://rpc.test/key-of-the-first-node",
  "https://rpc2.test/key-of-the-second"
]
export const endpoint = "https://pay.test/session"
export const privateKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
export const credential = "tempo_live_SECRETcredential"
/** When tests begin. */
export const start = 1_800_000_000_000
export const wallet = Wallet.layerPrivateKey(Redacted.make(privateKey))
/** The price of everything, in micro-dollars. */
export const price = 10_000n

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
// Time
// ---------------------------------------------------------------------------------------------------------------------

/** Lets everything happen that needs no time. */
export const idle: Effect.Effect<void> = Effect.gen(function*() {
  for (let turn = 0; turn < 5; turn++) {
    yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
  }
})

/** Time passes, and everything happens that is due. */
export const pass = (duration: Parameters<typeof TestClock.adjust>[0]) =>
  idle.pipe(Effect.andThen(TestClock.adjust(duration)), Effect.andThen(idle))

/** Runs to the end, while time passes as slowly as it can. */
export const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    yield* idle
    for (let step = 0; step < 2_000 && fiber.pollUnsafe() === undefined; step++) yield* pass("250 millis")
    if (fiber.pollUnsafe() === undefined) yield* Effect.die("it did not end in 500 seconds")
    return yield* Fiber.join(fiber)
  })

// ---------------------------------------------------------------------------------------------------------------------
// What a program does
// ---------------------------------------------------------------------------------------------------------------------

/** Gets the content and reads it, in a time that somebody else lets pass. */
export const fetch = (path = url) =>
  Effect.flatMap(PayingClient.PayingClient, (client) => Effect.flatMap(client.get(path), (response) => response.json))

export const get = (path = url) => Effect.flatMap(PayingClient.PayingClient, (client) => patiently(client.get(path)))

/** Gets the content, and reads it to its end. */
export const buy = (path = url) => patiently(fetch(path))

/** Where failures are printed, as a program's own logs would. */
const Printed = Context.Reference<Array<string>>("test/Printed", { defaultValue: () => [] })

const printing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tapCause(effect, (cause) =>
    Effect.map(Printed, (printed) => {
      printed.push(...print(cause), ...cause.reasons.flatMap((it) => it._tag === "Fail" ? print(it.error) : []))
    }))

/** The failure of a payment. */
export const failure = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<PaymentError.PaymentError, A, R> =>
  Effect.map(Effect.flip(printing(effect)), (error) => {
    const found = PaymentError.find(error)
    assert.isTrue(Option.isSome(found), `expected a PaymentError, not ${String(error)}`)
    return Option.getOrThrow(found)
  })

/** What failed and what that means for the money: `PaidUndelivered (spent)`. */
export const outcome = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(printing(effect), {
    onSuccess: () => "content",
    onFailure: (error) =>
      Option.match(PaymentError.find(error), {
        onNone: () => String(error),
        onSome: ({ money, reason }) => `${reason._tag} (${money})`
      })
  })

export const sweep = Effect.flatMap(Reconciler.Reconciler, (reconciler) => patiently(reconciler.sweep))

/** The authorisations of the ledger: state, and the rank of what it rests on. */
export const states = Effect.gen(function*() {
  const all = yield* authorizations
  return all.map(({ evidence, plan, state }) =>
    `${plan.kind} ${state}${evidence.length === 0 ? "" : ` (${evidence.at(-1)!.rank})`}`
  )
})

export const deliveries = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases),
  (all) => all.map(({ purchase }) => purchase.delivery)
)

export const authorizations = Effect.flatMap(Ledger.Ledger, authorizationsOf)

export const standing = (counter = "agent:default", windowMillis = 3_600_000) =>
  Effect.map(
    Effect.flatMap(Ledger.Ledger, (ledger) => ledger.standing(counter, windowMillis)),
    ({ exposed, spent }) => ({ spent, exposed })
  )

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
    const printed: Array<string> = []
    const spans: Array<Tracer.NativeSpan> = []
    const secrets = new Set<string>([privateKey, privateKey.slice(2), credential])
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
      remember(secrets, request.headers)
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
    const agent = Agent.layer({
      budget: options.budget ?? Budget.research,
      rails: Layer.mergeAll(
        ExactEvm.layer().pipe(Layer.provide(counting)),
        TokenSession.layer({
          credential: Redacted.make(credential),
          endpoint,
          origins: options.sessionOrigins ?? [origin]
        })
      ),
      ledger: Layer.effect(Ledger.Ledger, Effect.map(Ledger.Ledger, options.ledger ?? ((it) => it))).pipe(
        Layer.provide(Ledger.layerMemory({ quiet: true }))
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
      printed,
      print: (texts) =>
        void printed.push(...texts),
      spans: () => spans,
      moved,
      takenFor: (nonces) =>
        sum(
          chain.transfers.filter((it) => nonces.has(it.authorization.nonce))
            .map((it) => (options.inMicroDollars ?? ((units) => units))(BigInt(it.authorization.value)))
        ),
      signatures: () => signatures,
      paid: () => seen.filter((it) => it.authorization !== undefined || it.token !== undefined),
      secret: (text) => void secrets.add(text)
    }

    const scope = yield* Scope.make()
    const ledger = yield* Effect.gen(function*() {
      const context = yield* Layer.buildWithScope(agent, scope)
      yield* program(world).pipe(
        Effect.andThen(Effect.flatMap(Ledger.Ledger, (ledger) => audit(ledger, world))),
        Effect.provide(context),
        Effect.provideService(Printed, printed),
        Effect.ensuring(patiently(Scope.close(scope, Exit.void)))
      )
      return Context.get(context, Ledger.Ledger)
    }).pipe(
      Effect.tapCause((cause) => Effect.sync(() => printed.push(...print(cause)))),
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
    yield* audit(ledger, world)
    if (options.endpoint === undefined) yield* auditClosed(ledger, world)
    for (const { attributes, events, name } of spans) {
      printed.push(inspect([name, [...attributes], events], { depth: 9 }))
    }
    for (const secret of secrets) {
      const found = printed.find((text) => text.includes(secret))
      assert.isUndefined(found, "a secret was printed")
    }
  })).pipe(Effect.provide(Authority))

const Authority = SessionAuthority.layer({
  accounts: [{ credential: Redacted.make(credential), balanceUsd: 100_000_000n }]
}).pipe(Layer.provide(SecureRandom.layerWebCrypto))

/** All the ways in which a failure is printed. */
export const print = (value: unknown): ReadonlyArray<string> => [
  String(value),
  inspect(value, { depth: 12 }),
  JSON.stringify(value, (_, it) => typeof it === "bigint" ? String(it) : it) ?? "",
  ...(Cause.isCause(value) ? [Cause.pretty(value)] : [])
]

const credentialHeaders = ["authorization", "payment-authorization", "payment-signature", "x-payment"]

/** What came in a header that can move money is a secret, and so is the signature in it. */
const remember = (secrets: Set<string>, headers: { readonly [name: string]: string }) => {
  for (const name of credentialHeaders) {
    const value = headers[name]
    if (value === undefined) continue
    secrets.add(value.replace(/^(?:Payment|Bearer) /, ""))
    const signature = /"signature":"(0x[0-9a-f]+)"/.exec(Buffer.from(value, "base64").toString())?.[1]
    if (signature !== undefined) secrets.add(signature)
  }
}

const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest) =>
  body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "{}"

const sum = (amounts: ReadonlyArray<bigint>) => amounts.reduce((total, amount) => total + amount, 0n)

function authorizationsOf(ledger: Ledger.Ledger["Service"]) {
  return Effect.gen(function*() {
    const purchases = yield* ledger.purchases
    const openings = yield* Effect.forEach(
      yield* ledger.sessions,
      (session) => ledger.authorization(session.authorization)
    )
    return [...openings.flatMap(Option.toArray), ...purchases.flatMap((it) => it.authorizations)]
  })
}

/**
 * The books are in order: what moved is counted, no purchase cost more than was approved for it, no session more than was
 * held for it, and the counters are the sums of the authorisations.
 */
const audit = Effect.fnUntraced(function*(ledger: Ledger.Ledger["Service"], world: World) {
  const purchases = yield* ledger.purchases
  const all = yield* authorizationsOf(ledger)
  const counted = sum(all.filter(({ plan }) => plan.kind !== "draw").map((it) => it.spentUsd + it.exposedUsd))
  const moved = yield* world.moved
  assert.isTrue(moved <= counted, `${moved} moved, and ${counted} are counted`)

  const nonceOf = (authorization: Ledger.Authorization) =>
    (authorization.plan.data as { readonly authorization?: { readonly nonce: string } }).authorization?.nonce
  for (const { authorizations, purchase } of purchases) {
    const taken = world.takenFor(new Set(authorizations.map(nonceOf)))
    assert.isTrue(taken <= purchase.approvedUsd, `${taken} moved for a purchase of ${purchase.approvedUsd}`)
  }

  for (const session of yield* ledger.sessions) {
    const holder = all.find(({ id }) => id === session.authorization)!
    assert.isTrue(session.spentUsd + session.reservedUsd <= session.limitUsd, "a session is overdrawn")
    assert.isTrue(session.state === "establishing" || holder.spentUsd === session.spentUsd, "session and hold disagree")
  }

  const windowMillis = 10 * 365 * 86_400_000
  for (const counter of new Set(all.flatMap((it) => it.counters))) {
    const within = all.filter((it) => it.counters.includes(counter))
    const { exposed, spent } = yield* ledger.standing(counter, windowMillis)
    assert.strictEqual(exposed, sum(within.map((it) => it.plan.kind === "draw" ? 0n : it.exposedUsd)), counter)
    assert.strictEqual(spent, sum(within.map((it) => it.plan.kind === "draw" ? 0n : it.spentUsd)), counter)
  }
})

/** The program has ended: an endpoint that answered has nothing reserved any more, and both say the same of what was spent. */
const auditClosed = Effect.fnUntraced(function*(ledger: Ledger.Ledger["Service"], { authority }: World) {
  const { accounts } = yield* authority.audit
  assert.strictEqual(accounts[0]!.reservedUsd, 0n, "a session was left open")
  const sessions = yield* ledger.sessions
  assert.strictEqual(sum(sessions.map((it) => it.spentUsd)), accounts[0]!.spentUsd, "ledger and endpoint disagree")
})
