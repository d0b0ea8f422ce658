/**
 * What hostile worlds have in common: how time passes, what a program does, how it is run and what is printed of it, and the
 * audit of its books.
 */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import type * as Agent from "../../src/Agent.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Reconciler from "../../src/Reconciler.ts"

export const origin = "https://merchant.test"
export const url = `${origin}/data`
export const privateKey = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
/** When tests begin. */
export const start = 1_800_000_000_000
/** The price of everything, in micro-dollars. */
export const price = 10_000n

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

/** A request that has side effects. */
export const order = (key?: string) =>
  Effect.flatMap(PayingClient.PayingClient, (client) =>
    patiently(client.execute(HttpClientRequest.post(url, {
      headers: key === undefined ? {} : { "idempotency-key": key }
    }))))

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
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({})),
  (all) => all.toReversed().map(({ purchase }) => purchase.delivery)
)

export const authorizations = Effect.flatMap(Ledger.Ledger, authorizationsOf)

export const standing = (counter = "agent:default", windowMillis = 3_600_000) =>
  Effect.map(
    Effect.flatMap(Ledger.Ledger, (ledger) => ledger.standing(counter, windowMillis)),
    ({ exposed, spent }) => ({ spent, exposed })
  )

// ---------------------------------------------------------------------------------------------------------------------
// Its run
// ---------------------------------------------------------------------------------------------------------------------

/** What is seen of a program from outside. */
export class Watch {
  /** Everything that was printed: spans, logs, errors. */
  readonly printed: Array<string> = []
  readonly spans: Array<Tracer.NativeSpan> = []
  /** What must never be printed. */
  readonly secrets: Set<string>

  constructor(secrets: ReadonlyArray<string>) {
    this.secrets = new Set(secrets)
  }

  /** Runs what an agent does; everything that it says is kept. */
  readonly over = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    effect.pipe(
      Effect.tapCause((cause) => Effect.sync(() => this.printed.push(...print(cause)))),
      Effect.provideService(Printed, this.printed),
      Effect.withTracer(Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          this.spans.push(span)
          return span
        }
      })),
      Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void this.printed.push(line))])),
      Effect.provideService(References.MinimumLogLevel, "All")
    )

  /** What came in a header that can move money is a secret, and so is the signature in it. */
  remember(headers: { readonly [name: string]: string }): void {
    for (const name of credentialHeaders) {
      const value = headers[name]
      if (value === undefined) continue
      const credential = value.replace(/^(?:Payment|Bearer) /, "")
      this.secrets.add(credential)
      const signature = /"signature":"(0x[0-9a-f]+)"/.exec(Buffer.from(credential, "base64").toString())?.[1]
      if (signature !== undefined) this.secrets.add(signature)
    }
  }

  /** Nothing that was printed holds a secret. */
  auditSecrets(): void {
    for (const { attributes, events, name } of this.spans) {
      this.printed.push(inspect([name, [...attributes], events], { depth: 9 }))
    }
    for (const secret of this.secrets) {
      const found = this.printed.find((text) => text.includes(secret))
      assert.isUndefined(found, "a secret was printed")
    }
  }
}

/**
 * Runs a program with an agent, and audits its books before the agent ends and after. Answers the ledger. An agent that is
 * dead by then does not end: it hangs somewhere for ever.
 */
export const run = Effect.fnUntraced(function*<E, E2>(
  agent: Layer.Layer<Agent.Agent, E>,
  books: Books,
  program: Effect.Effect<unknown, E2, Agent.Agent | Scope.Scope>,
  { isDead = () => false, ledger: own }: {
    readonly isDead?: () => boolean
    readonly ledger?: Ledger.Ledger["Service"]
  } = {}
) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(agent, scope)
  const ledger = own ?? Context.get(context, Ledger.Ledger)
  yield* program.pipe(
    Effect.andThen(audit(ledger, books)),
    Effect.provideService(Ledger.Ledger, ledger),
    Effect.provide(context),
    Effect.ensuring(Effect.suspend(() => isDead() ? Effect.void : patiently(Scope.close(scope, Exit.void))))
  )
  yield* audit(ledger, books)
  return ledger
})

/** All the ways in which a failure is printed. */
export const print = (value: unknown): ReadonlyArray<string> => [
  String(value),
  inspect(value, { depth: 12 }),
  JSON.stringify(value, (_, it) => typeof it === "bigint" ? String(it) : it) ?? "",
  ...(Cause.isCause(value) ? [Cause.pretty(value)] : [])
]

const credentialHeaders = ["authorization", "payment-authorization", "payment-signature", "x-payment"]

export const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): string =>
  body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "{}"

// ---------------------------------------------------------------------------------------------------------------------
// Its books
// ---------------------------------------------------------------------------------------------------------------------

/** What the world knows of money that the ledger has to know, too. */
export interface Books {
  /** What moved in all, in micro-dollars. */
  readonly moved: Effect.Effect<bigint>
  /** What was taken for payments of these authorisations, in micro-dollars. */
  readonly takenFor: (authorizations: ReadonlyArray<Ledger.Authorization>) => bigint
}

export const sum = (amounts: ReadonlyArray<bigint>) => amounts.reduce((total, amount) => total + amount, 0n)

export function authorizationsOf(ledger: Ledger.Ledger["Service"]) {
  return Effect.gen(function*() {
    const purchases = (yield* ledger.purchases({})).toReversed()
    const openings = yield* Effect.forEach(
      yield* ledger.sessions({}),
      (session) => ledger.authorization(session.authorization)
    )
    return [...openings.flatMap(Option.toArray), ...purchases.flatMap((it) => it.authorizations)]
  })
}

/**
 * The books are in order: what moved is counted, no purchase cost more than was approved for it, no session more than was
 * held for it, and the counters are the sums of the authorisations.
 */
export const audit = Effect.fnUntraced(function*(ledger: Ledger.Ledger["Service"], books: Books) {
  const purchases = (yield* ledger.purchases({})).toReversed()
  const all = yield* authorizationsOf(ledger)
  const counted = sum(all.filter(({ plan }) => plan.kind !== "draw").map((it) => it.spentUsd + it.exposedUsd))
  const moved = yield* books.moved
  assert.isTrue(moved <= counted, `${moved} moved, and ${counted} are counted`)

  for (const { authorizations, purchase } of purchases) {
    const taken = books.takenFor(authorizations)
    assert.isTrue(taken <= purchase.approvedUsd, `${taken} moved for a purchase of ${purchase.approvedUsd}`)
  }

  for (const session of yield* ledger.sessions({})) {
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
