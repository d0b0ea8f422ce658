/**
 * What goes wrong on purpose: what was injected, what the agent did, and what it cost.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Budget from "../../Budget.ts"
import * as Payment from "../../Payment.ts"
import type * as PaymentError from "../../PaymentError.ts"
import { failed } from "./DemoFailed.ts"
import { Faults, type Visit } from "./Faults.ts"
import { timed } from "./Loopback.ts"
import { priceUsd } from "./Merchant.ts"
import * as Payer from "./Payer.ts"
import { type Check, dollars, duration, plural, Scene, times } from "./Report.ts"
import { type PayerName, World } from "./World.ts"

/** What is known after a scene was played. */
type Seen = Effect.Success<ReturnType<typeof Payer.settle>> & { readonly visits: ReadonlyArray<Visit> }

interface Told {
  readonly did: string
  readonly checks: ReadonlyArray<typeof Check.Type>
}

const check = (what: string, holds: boolean) => ({ what, holds })

const costs = ({ money }: Seen, onChain: bigint, bySession: bigint) => [
  check(`${plural(Number(onChain), "charge")} on the chain`, money.chainUsd === onChain * priceUsd),
  check(`${plural(Number(bySession), "debit")} at the authority`, money.authorityUsd === bySession * priceUsd)
]

const answered = ({ visits }: Seen, answer: Visit["answer"]) => visits.filter((visit) => visit.answer === answer).length

/** The authorisations of one kind that the agent made. */
const made = ({ purchases }: Seen, kind: "charge" | "draw") =>
  purchases.flatMap(({ authorizations }) => authorizations.filter(({ plan }) => plan.kind === kind))

/** Whether each draw that brought nothing was given up on the authority's word, and not on a guess. */
const provenUnspent = (seen: Seen) => {
  const released = made(seen, "draw").filter(({ state }) => state === "released")
  return check(
    "every refused token was proven not to be debited",
    released.length === answered(seen, 429) + answered(seen, 503) &&
      released.every(({ evidence }) => evidence.some(({ rank }) => rank === "attested"))
  )
}

/** Plays one scene with an agent of its own. */
const play = <A, E extends Error, R>(scene: {
  readonly name: PayerName
  readonly injected: string
  readonly plan?: Budget.Plan
  readonly act: Effect.Effect<A, E, R>
  readonly tell: (seen: Seen, acted: A) => Told
}) => {
  const payer: Payer.Options = { name: scene.name, plan: scene.plan ?? Budget.research, sessions: true }
  return Effect.gen(function*() {
    const faults = yield* Faults
    yield* faults.visits
    const { millis, value } = yield* timed(scene.act)
    const visits = yield* faults.visits
    const seen = { ...(yield* Payer.settle(payer)), visits }
    const { checks, did } = scene.tell(seen, value)
    const delivered = answered(seen, 200)
    return new Scene({ name: scene.name, injected: scene.injected, did, delivered, millis, money: seen.money, checks })
  }).pipe(Effect.provide(Payer.layer(payer)), Effect.mapError(failed(`The scene "${scene.name}" failed`)))
}

const pages = (from: number, to: number) =>
  Effect.forEach(Array.from({ length: to - from + 1 }, (_, at) => from + at), Payer.fetchPage, { discard: true })

const during = <A, E, R>(fault: Parameters<Faults["Service"]["during"]>[0], effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Faults, (faults) => faults.during(fault)(effect))

/** A program that says that it will make this many requests, which are worth a session. */
const expecting = (requests: number) => Payment.with({ expect: requests })

/**
 * The session's token expires in the middle of the work.
 *
 * @category scenes
 * @since 0.1.0
 */
export const expiredToken = play({
  name: "expired token",
  injected: "the authority expires the session after 3 of 6 requests",
  act: pages(1, 3).pipe(
    Effect.andThen(Effect.flatMap(World, ({ expireSessions }) => expireSessions)),
    Effect.andThen(pages(4, 6)),
    expecting(6)
  ),
  tell: (seen) => ({
    did: `refused ${times(answered(seen, 401))}, renewed the session, ` +
      `${plural(seen.sessions.length, "session")} in all`,
    checks: [
      check("one renewal", seen.sessions.length === 2 && answered(seen, 401) === 1),
      ...costs(seen, 0n, 6n)
    ]
  })
})

/**
 * The merchant asks to wait.
 *
 * @category scenes
 * @since 0.1.0
 */
export const rateLimit = play({
  name: "rate limit",
  injected: "the merchant answers 429, Retry-After: 1",
  act: pages(1, 1).pipe(Effect.andThen(during("rate-limit", timed(pages(2, 2)))), expecting(6)),
  tell: (seen, { millis }) => ({
    did: `found out that its token was not debited, waited, and had its answer after ${duration(millis)}`,
    checks: [
      check("asked once more", answered(seen, 429) === 1),
      check("waited as it was told", millis >= 1000),
      provenUnspent(seen),
      ...costs(seen, 0n, 2n)
    ]
  })
})

/**
 * The merchant takes no tokens any more, while x402 works.
 *
 * @category scenes
 * @since 0.1.0
 */
export const outage = play({
  name: "outage",
  injected: "the merchant answers 503 to every token",
  act: pages(1, 1).pipe(Effect.andThen(during("refuse-tokens", pages(2, 2))), expecting(6)),
  tell: (seen) => ({
    did: `offered its token ${times(answered(seen, 503))}; the endpoint's figure proved that nothing was ` +
      "debited; paid by x402",
    checks: [
      check("the token was refused", answered(seen, 503) > 0),
      provenUnspent(seen),
      check("one transaction", seen.money.transactions === 1),
      ...costs(seen, 1n, 1n)
    ]
  })
})

/**
 * The merchant settles, and its answer is lost.
 *
 * @category scenes
 * @since 0.1.0
 */
export const lostAnswer = play({
  name: "lost answer",
  injected: "the connection breaks while the payment settles",
  act: Effect.gen(function*() {
    const first = yield* during("settle-and-cut", Payer.tryPage(1))
    const again = yield* Payer.tryPage(1)
    return { first, again }
  }),
  tell: (seen, { again, first }) => ({
    did: `sent the same authorisation ${times(answered(seen, "cut"))}, then told its program: ` +
      `${first._tag === "Failure" ? first.failure.reason._tag : "content"}; the same request again brought the ` +
      "content and paid nothing",
    checks: [
      check(
        "the program is told that its money is spent",
        first._tag === "Failure" && (first.failure.money === "spent" || first.failure.money === "unknown")
      ),
      check("the same request again brings the content", Result.isSuccess(again)),
      check("one authorisation", seen.purchases.length === 1 && made(seen, "charge").length === 1),
      check("one transaction", seen.money.transactions === 1),
      ...costs(seen, 1n, 0n)
    ]
  })
})

/** Why a request was not paid for, if it was the budget. */
const overBudget = (result: Result.Result<string, PaymentError.PaymentError>) =>
  Result.isFailure(result) && result.failure.reason._tag === "BudgetExceeded" ? [result.failure.reason] : []

/**
 * The budget runs out.
 *
 * @category scenes
 * @since 0.1.0
 */
export const smallBudget = play({
  name: "small budget",
  injected: `a budget of ${dollars(Budget.singleFetch.limit)}, and 8 requests at once`,
  plan: Budget.singleFetch,
  act: Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], Payer.tryPage, { concurrency: "unbounded" }).pipe(expecting(8)),
  tell: (seen, results) => {
    const delivered = results.filter(Result.isSuccess).length
    const refusals = results.flatMap(overBudget)
    const last = Option.fromUndefinedOr(refusals.at(-1))
    return {
      did: `paid ${delivered}, and told its program ${times(refusals.length)}: BudgetExceeded` +
        Option.match(last, {
          onNone: () => "",
          onSome: ({ exposed, limit, requested, scope, spent }) =>
            ` (${scope} limit ${dollars(limit)}, spent ${dollars(spent)}, held ${dollars(exposed)}, ` +
            `asked for ${dollars(requested)})`
        }),
      checks: [
        check("every other request fails with BudgetExceeded", refusals.length === results.length - delivered),
        check("something was refused", refusals.length > 0),
        check("nothing moved beyond the limit", seen.money.movedUsd <= Budget.singleFetch.limit),
        check("what was paid for was delivered", seen.money.movedUsd === BigInt(delivered) * priceUsd),
        check("what was delivered was served", delivered === answered(seen, 200))
      ]
    }
  }
})

/**
 * In the order in which they are played.
 *
 * @category scenes
 * @since 0.1.0
 */
export const all = [expiredToken, rateLimit, outage, smallBudget, lostAnswer]
