/**
 * An agent that pays by Tempo charges in a hostile world: the real rail, ledger and reconciler, in front of a merchant that
 * does as its script says, over a chain whose nodes do as they are told. It can be stopped anywhere, and crash.
 *
 * Whatever a test is about, in the end all nodes tell the truth, time passes, and the books must say to the last
 * micro-dollar what the payer has lost.
 */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import type { Hex } from "viem"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import type * as Policy from "../../src/Policy.ts"
import { Evidence, Plan } from "../../src/Rails.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Settlement from "../../src/wire/x402/Settlement.ts"
import { ledgerOfTests } from "../sql/temporary.ts"
import * as Audit from "./audit.ts"
import * as Evm from "./chain.ts"
import { authorizationOf, content, deliver, json, type Reply } from "./merchant.ts"
import { network, takenBy, TempoChain } from "./tempoChain.ts"
import * as Merchant from "./tempoMerchant.ts"

export {
  authorizations,
  buy,
  deliveries,
  failure,
  fetch,
  idle,
  order,
  origin,
  outcome,
  pass,
  patiently,
  price,
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

export interface Options extends Merchant.Shop {
  readonly rail?: TempoCharge.Options
  /** How many nodes are configured. Default: one. */
  readonly nodes?: number
  readonly budget?: Budget.Plan
  readonly policy?: Policy.Options
  readonly wallet?: Layer.Layer<Wallet.Wallet, unknown>
  readonly ledger?: (inner: Ledger.Ledger["Service"]) => Ledger.Ledger["Service"]
  /** How a hash that is too late or a proof that is lost leave the books: not to be checked against the chain at the end. */
  readonly staysUnknown?: boolean
}

/**
 * Where an agent can be stopped: before and after it asks a node (`rpc eth_...`, `rpc eth_... answered`), before and after
 * its wallet signs (`sign`, `signed`), before a credential reaches the merchant and before his answer comes (`send`,
 * `answer`).
 */
export type Point = string

export interface World {
  readonly chain: TempoChain
  /** What was paid over x402. */
  readonly x402: ReadonlyArray<Evm.Authorization>
  /** What the merchant saw, in order. */
  readonly seen: ReadonlyArray<Merchant.Seen>
  /** What the wallet has signed: transactions and proofs. */
  readonly signed: ReadonlyArray<Hex>
  /** Requests that carried a credential. */
  readonly paid: () => ReadonlyArray<Merchant.Seen>
  /** Signed transactions that merchants have seen. */
  readonly transactions: () => ReadonlyArray<string>
  /** Hashes that were presented to merchants. */
  readonly hashes: () => ReadonlyArray<string>
  /** Whatever comes to one of these points stays there. */
  readonly stops: Set<Point>
  /** Whoever comes to a point waits there as long as it says. */
  readonly waits: Map<Point, Effect.Effect<unknown>>
  /** How often each point was reached. */
  readonly reached: Map<Point, number>
  /** The process is gone, with all that it was doing. */
  readonly crash: Effect.Effect<void>
  /** Another process goes on with the same ledger; the one before is gone. */
  readonly renew: Effect.Effect<void, unknown>
  /** Does something in the process that is alive. */
  readonly here: <A, E, R>(program: Effect.Effect<A, E, Agent.Agent | R>) => Effect.Effect<A, E, Agent.Agent | R>
  /** Does something in a new process. */
  readonly restart: <A, E>(
    program: Effect.Effect<A, E, Agent.Agent | Scope.Scope>
  ) => Effect.Effect<A, unknown, Agent.Agent | Scope.Scope>
  /** What the payer lost for authorisations, and how many transactions that were. */
  readonly takenFor: (authorizations: ReadonlyArray<Ledger.Authorization>) => {
    readonly usd: bigint
    readonly transactions: number
  }
  /** Seconds since the epoch. */
  readonly now: Effect.Effect<number>
}

/** Runs a program in a hostile world, and audits it. */
export const hostile = (
  options: Options,
  program: (world: World) => Effect.Effect<unknown, unknown, Agent.Agent | Scope.Scope>
): Effect.Effect<void, unknown> =>
  Effect.scoped(Effect.gen(function*() {
    yield* TestClock.setTime(Audit.start)
    const chain = new TempoChain(Audit.start / 1000)
    const seen: Array<Merchant.Seen> = []
    const signed: Array<Hex> = []
    const x402: Array<Evm.Authorization> = []
    const stops = new Set<Point>()
    const waits = new Map<Point, Effect.Effect<unknown>>()
    const reached = new Map<Point, number>()
    const watch = new Audit.Watch([Audit.privateKey, Audit.privateKey.slice(2), ...rpcs])
    const serve = Merchant.serve(options, { chain, seen })
    const now = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000) + chain.skew)
    /** The number of the process that is alive. */
    let alive = 0

    const comeTo = (point: Point) =>
      Effect.suspend(() => {
        reached.set(point, (reached.get(point) ?? 0) + 1)
        return stops.has(point) ? Effect.never : waits.get(point) ?? Effect.void
      })

    /** What a process does; a dead one does nothing any more. */
    const living = (process: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.suspend(() => process === alive ? effect : Effect.never)

    const around = (process: number, before: Point, after: Point) => <A, E, R>(effect: Effect.Effect<A, E, R>) => {
      const lives = living(process)
      return lives(comeTo(before)).pipe(
        Effect.andThen(lives(effect)),
        Effect.tap(() => lives(comeTo(after))),
        Effect.flatMap((value) => lives(Effect.succeed(value)))
      )
    }

    const ask = Effect.fnUntraced(function*(
      process: number,
      request: HttpClientRequest.HttpClientRequest,
      url: URL
    ) {
      const call = JSON.parse(Audit.bodyOf(request)) as {
        readonly method: string
        readonly params: ReadonlyArray<unknown>
      }
      const answered = Effect.flatMap(now, (seconds) => chain.answer(url.hostname, seconds, call.method, call.params))
      const reply = yield* around(process, `rpc ${call.method}`, `rpc ${call.method} answered`)(
        Effect.match(answered, {
          onFailure: (): Reply => "refused",
          onSuccess: (answer): Reply => new Response(JSON.stringify(answer))
        })
      )
      return yield* deliver(request, reply)
    })

    const clientOf = (process: number) =>
      HttpClient.make((request, url) => {
        watch.remember(request.headers)
        if (url.hostname.startsWith("rpc")) return ask(process, request, url)
        const other = authorizationOf(request.headers)
        if (other !== undefined) {
          x402.push(other)
          const settlement = {
            success: true,
            transaction: `0x${"1".repeat(64)}`,
            network: Evm.network,
            payer: other.from
          }
          return deliver(request, json(200, content, { "payment-response": Settlement.encode(settlement) }))
        }
        const isPaid = "authorization" in request.headers
        const served = serve(request, url)
        return isPaid ? around(process, "send", "answer")(served) : living(process)(served)
      })

    const walletOf = (process: number) => {
      const made = Effect.map(Wallet.Wallet, (wallet) => {
        const signing = <E>(signature: Effect.Effect<Hex, E>) =>
          around(process, "sign", "signed")(Effect.tap(signature, (bytes) => Effect.sync(() => signed.push(bytes))))
        return Wallet.Wallet.of({
          ...wallet,
          signTypedData: (data) => signing(wallet.signTypedData(data)),
          signTransaction: (transaction, serializer) => signing(wallet.signTransaction(transaction, serializer))
        })
      })
      return Layer.effect(Wallet.Wallet, made).pipe(
        Layer.provide(options.wallet ?? Wallet.layerPrivateKey(Redacted.make(Audit.privateKey)))
      )
    }

    const ledger = Context.get(yield* Layer.build(ledgerOfTests), Ledger.Ledger)

    const agentOf = (process: number) =>
      Agent.layer({
        budget: options.budget ?? Budget.research,
        rails: Layer.mergeAll(TempoCharge.layer(options.rail ?? {}), ExactEvm.layer()).pipe(
          Layer.provide(walletOf(process))
        ),
        ledger: Layer.succeed(Ledger.Ledger, guarded((options.ledger ?? ((it) => it))(ledger), living(process))),
        policy: { networks: [network, Evm.network], ...options.policy },
        rpc: { [network]: rpcs.slice(0, options.nodes ?? 1) },
        sweep: false
      }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, clientOf(process))))

    const takenFor: World["takenFor"] = (authorizations) => {
      const mined = chain.mined.filter((it) => authorizations.some(pays(it)))
      const others = x402.filter(({ nonce }) =>
        authorizations.some(({ plan }) => JSON.stringify(plan.data).includes(nonce))
      )
      return {
        usd: Audit.sum([...mined.map(takenBy), ...others.map(({ value }) => BigInt(value))]),
        transactions: mined.length + others.length
      }
    }
    const moved = () => Audit.sum([chain.taken, ...x402.map(({ value }) => BigInt(value))])
    const books: Audit.Books = {
      moved: Effect.sync(moved),
      takenFor: (authorizations) => takenFor(authorizations).usd
    }

    const crash = Effect.sync(() => {
      alive++
      stops.clear()
      waits.clear()
    })

    /** The process that is alive; at first the one that the program runs in. */
    let current: Context.Context<Agent.Agent> | undefined
    const renew = Effect.gen(function*() {
      yield* crash
      yield* orphan(ledger)
      current = yield* Layer.buildWithScope(agentOf(alive), yield* Scope.make())
    })
    const here: World["here"] = (program) =>
      Effect.suspend(() => current === undefined ? program : Effect.provide(program, current))

    const world: World = {
      chain,
      x402,
      seen,
      signed,
      paid: () => seen.filter((it) => it.credential !== undefined),
      transactions: () => seen.flatMap(({ payload }) => payload?.type === "transaction" ? [payload.signature] : []),
      hashes: () => seen.flatMap(({ payload }) => payload?.type === "hash" ? [payload.hash] : []),
      stops,
      waits,
      reached,
      crash,
      renew,
      here,
      restart: (program) => Effect.andThen(renew, Effect.scoped(here(program))),
      takenFor,
      now
    }

    yield* watch.over(Effect.gen(function*() {
      yield* Audit.run(agentOf(0), books, program(world), { isDead: () => alive > 0, ledger })
      chain.lie = () => undefined
      chain.goOn()
      waits.clear()
      yield* Audit.pass("2 minutes")
      yield* renew
      yield* Effect.provide(Audit.sweep, current!)
      yield* Audit.audit(ledger, books)
      if (options.staysUnknown !== true) yield* auditTruth(ledger, takenFor, moved())
    }))
    watch.auditSecrets()
  }))

const decodePlan = Schema.decodeUnknownSync(Plan)
const encodePlan = Schema.encodeSync(Plan)

/** What was read from a file, or a database: equal to what was written, and not the same. */
const reread = (value: unknown): unknown =>
  value instanceof Ledger.Authorization
    ? new Ledger.Authorization({ ...value, plan: decodePlan(encodePlan(value.plan)) })
    : Array.isArray(value)
    ? value.map(reread)
    : Option.isOption(value)
    ? Option.map(value, reread)
    : typeof value === "object" && value !== null && "purchase" in value && "authorization" in value
    ? { ...value, authorization: reread(value.authorization) }
    : value

/** A ledger that outlives the process, and that a dead process can ask nothing. */
const guarded = (
  ledger: Ledger.Ledger["Service"],
  alive: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
): Ledger.Ledger["Service"] => {
  const living = (effect: Effect.Effect<unknown, unknown>) => Effect.map(alive(effect), reread)
  return Object.fromEntries(
    Object.entries(ledger).map(([name, member]) => [
      name,
      typeof member === "function"
        ? (...args: ReadonlyArray<never>) =>
          living((member as (...args: ReadonlyArray<never>) => Effect.Effect<unknown, unknown>)(...args))
        : Effect.isEffect(member)
        ? living(member as Effect.Effect<unknown, unknown>)
        : member
    ])
  ) as unknown as Ledger.Ledger["Service"]
}

/** What a ledger that outlives a process finds when the next one begins: purchases whose owners are gone. */
const orphan = Effect.fnUntraced(function*(ledger: Ledger.Ledger["Service"]) {
  const evidence = new Evidence({ rank: "presumed", what: "its owner ended" })
  for (const { authorizations, purchase } of yield* ledger.purchases({})) {
    if (purchase.delivery !== "open" && purchase.delivery !== "delivering") continue
    for (const { id, state } of authorizations) {
      if (state === "signed") yield* ledger.judged(id, { state: "unknown", evidence })
    }
    yield* ledger.delivered(purchase.id, purchase.delivery === "open" ? "undelivered" : "broken")
  }
})

/** Whether a mined transaction is what an authorisation planned: to the last member, since two may pay the same. */
const pays = ({ transaction: { calls, gas, maxFeePerGas, validBefore } }: TempoChain["mined"][number]) => {
  const members = [calls[0]!.data, `"gas":"${gas}"`, `"maxFeePerGas":"${maxFeePerGas}"`, `"validBefore":${validBefore}`]
  return ({ plan }: Ledger.Authorization): boolean => {
    const text = JSON.stringify(plan.data)
    return members.every((member) => text.includes(member))
  }
}

/** All that can be known is known: what is counted is what the payer lost, for each authorisation as for all. */
const auditTruth = Effect.fnUntraced(function*(
  ledger: Ledger.Ledger["Service"],
  takenFor: World["takenFor"],
  moved: bigint
) {
  const all = yield* Audit.authorizationsOf(ledger)
  for (const authorization of all) {
    const taken = takenFor([authorization]).usd
    const { evidence, exposedUsd, spentUsd, state } = authorization
    const told = `${state} (${evidence.map(({ rank, what }) => `${rank} ${what}`).join(", ")})`
    assert.strictEqual(exposedUsd, 0n, `exposed for ever: ${told}`)
    assert.strictEqual(spentUsd, taken, `not what moved: ${told}`)
  }
  assert.strictEqual(Audit.sum(all.map(({ spentUsd }) => spentUsd)), moved, "the books are not what moved")
})
