/**
 * Pays one exchange, once.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Admission from "./Admission.ts"
import * as Amount from "./Amount.ts"
import * as Attempt from "./Attempt.ts"
import * as Budget from "./Budget.ts"
import type { Chain } from "./Chain.ts"
import * as Challenges from "./Challenges.ts"
import * as Choice from "./Choice.ts"
import * as Demand from "./Demand.ts"
import type { Exchange } from "./Exchange.ts"
import type { Foreign } from "./Foreign.ts"
import * as Ledger from "./Ledger.ts"
import { CurrentOptions, type Options } from "./payment/Options.ts"
import type * as PaymentError from "./PaymentError.ts"
import * as Policy from "./Policy.ts"
import * as Purchase from "./Purchase.ts"
import * as Rails from "./Rails.ts"
import * as Resume from "./Resume.ts"
import * as Session from "./Session.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Warnings from "./Warnings.ts"
import * as Workload from "./Workload.ts"

export * from "./payment/Options.ts"

/**
 * What would be paid for a request, and why.
 *
 * @category models
 * @since 0.1.0
 */
export interface Quote {
  readonly origin: string
  /** What the server answered; no demand unless it is 402. */
  readonly status: number
  /** It is to be had for nothing: the status is one of success. */
  readonly free: boolean
  /** Best first: what would be tried. */
  readonly candidates: ReadonlyArray<Choice.Candidate>
  /** What would not, and why. */
  readonly refused: Choice.Answer["refused"]
  /** Those of the refused that were understood. */
  readonly declined: Choice.Answer["declined"]
  /** Why nothing can be paid, if nothing can. */
  readonly failure: Option.Option<PaymentError.Reason>
  /** Signs that a protocol is spoken here. */
  readonly hints: ReadonlyArray<string>
  /** What is odd about the offers, and who of the payees is unknown: no reason to refuse them. */
  readonly warnings: ReadonlyArray<string>
}

/**
 * Pays exchanges.
 *
 * @category services
 * @since 0.1.0
 */
export class Payment extends Context.Service<Payment, {
  /**
   * Sends a request and pays for it where that is demanded, allowed, and within the budget. What is not about payment
   * passes through untouched.
   */
  readonly pay: <A, E, R>(exchange: Exchange<A, E, R>) => Effect.Effect<A, E | PaymentError.PaymentError, R>
  /** Sends a request without a credential and says what would be paid. Signs nothing. */
  readonly quote: <A, E, R>(exchange: Exchange<A, E, R>) => Effect.Effect<Quote, E | PaymentError.PaymentError, R>
}>()("effect-mpp/Payment") {}

/** When another challenge is asked for, in milliseconds each after the last time. */
const pauses = [15, 30, 60, 120]

/** One span per paid request: its stack trace would cost more than the rest of it. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.withSpan(effect, "Payment.pay", { captureStackTrace: false })

const make = Effect.fnUntraced(function*(options: { readonly agent: string }) {
  const ledger = yield* Ledger.Ledger
  const budget = yield* Budget.Budget
  const policy = yield* Policy.Policy
  const rails = yield* Rails.Rails
  const session = yield* Session.Session
  const random = yield* SecureRandom.SecureRandom
  const attempts = yield* Attempt.make
  const challenges = yield* Challenges.make
  const workload = yield* Workload.make
  const { draw, giveUp, walk } = yield* Purchase.make(attempts, challenges)
  const resume = yield* Resume.make(attempts)
  const warn = Warnings.make(ledger, policy)
  const admission = yield* Admission.make

  const ceilingOf = (given: Options) => {
    const max = typeof given.max === "string"
      ? Option.getOrElse(Amount.parseUsd(given.max), () => 0n)
      : given.max ?? budget.ceiling
    return max < budget.ceiling ? max : budget.ceiling
  }

  /** What a gauge shows of the agent's window. */
  const showBudget = Effect.fnUntraced(function*<A, E, R>({ agent, exchange }: Purchase.Work<A, E, R>) {
    for (const limit of budget.limits({ agent, origin: exchange.origin, payer: "" })) {
      if (limit.scope !== "agent") continue
      const { exposed, spent } = yield* ledger.standing(limit.counter, limit.windowMillis)
      yield* Metric.update(Metric.withAttributes(Telemetry.budgetLeft, { agent }), limit.limit - spent - exposed)
    }
  }, (effect) => Effect.ignore(effect))

  const paid = Effect.fnUntraced(function*<A, E, R>(work: Purchase.Work<A, E, R>) {
    yield* workload.paid(work.exchange.origin)
    yield* showBudget(work)
  })

  const choose = Effect.fnUntraced(function*<A, E, R>(
    exchange: Exchange<A, E, R>,
    given: Options,
    demand: Demand.Demand,
    excluded: ReadonlySet<string>
  ) {
    const agent = given.agent ?? options.agent
    const now = yield* Clock.currentTimeMillis
    // Servers of metered sessions take a HEAD for the management of a session: nothing can be bought by it.
    const buysNothing = ({ session }: Rails.Rail) =>
      exchange.method === "HEAD" && Option.exists(session, ({ inOrder }) => inOrder)
    const all = (yield* rails.all).filter((rail) => !excluded.has(rail.name) && !buysNothing(rail))
    const live = new Set<string>()
    for (const rail of all) {
      if (Option.isNone(rail.session)) continue
      for (const offer of demand.offers) {
        const served = offer.intent === "session" && rail.accepts(offer, exchange.origin)._tag === "Success" &&
          (yield* session.isLive({ rail, ops: rail.session.value, offer, origin: exchange.origin, agent }))
        if (served) live.add(`${rail.name}\n${offer.digest}`)
      }
    }
    const objection = yield* admission.objections
    return Choice.choose({
      demand,
      origin: exchange.origin,
      rails: all,
      only: given.rails,
      request: exchange,
      ceiling: ceilingOf(given),
      expected: yield* workload.expected(exchange.origin, given.expect),
      screen: (offer, asset, { payer }) =>
        Option.orElse(
          policy.screen(offer, { origin: exchange.origin, asset, payer, now }),
          () => objection({ asset, payer })
        ),
      isLive: (offer, rail) => live.has(`${rail.name}\n${offer.digest}`),
      rank: yield* Choice.Ranking
    })
  })

  const workFor = Effect.fnUntraced(function*<A, E, R>(exchange: Exchange<A, E, R>, given: Options) {
    const agent = given.agent ?? options.agent
    const id = `pay_${yield* random.uuidV7()}`
    return {
      exchange,
      agent,
      // A credential is for its own origin alone, so that no key reaches beyond it.
      key: given.key === undefined ? exchange.key(agent) ?? id : ["key", agent, exchange.origin, given.key].join("\n"),
      id,
      expected: yield* workload.expected(exchange.origin, given.expect)
    } satisfies Purchase.Work<A, E, R>
  })

  /** The content of an unfinished purchase, or leave to begin a new one. */
  const begin = <A, E, R>(work: Purchase.Work<A, E, R>, money: PaymentError.Money, answer?: Demand.Answer) => {
    const refused = (error: PaymentError.LedgerUnavailable | PaymentError.PolicyDenied) =>
      Purchase.fail(work, error, money)
    return Effect.flatMap(
      admission.ask(work.exchange.origin, answer),
      (admitted) => Effect.tap(resume(work), (resumed) => Option.isSome(resumed) ? Effect.void : admitted)
    ).pipe(
      Effect.catchTags({ LedgerUnavailable: refused, PolicyDenied: refused })
    )
  }

  const settle = Effect.fnUntraced(function*<A, E, R>(
    exchange: Exchange<A, E, R>,
    given: Options,
    { answer, demand }: { readonly answer: Demand.Answer; readonly demand: Demand.Demand },
    tried: Purchase.Tried
  ) {
    const { money, unusable } = tried
    const work = yield* workFor(exchange, given)
    if (Option.isSome(exchange.obstacle)) return yield* Purchase.fail(work, exchange.obstacle.value, money)
    const resumed = yield* begin(work, money, answer)
    if (Option.isSome(resumed)) return resumed.value
    let choice = yield* choose(exchange, given, demand, unusable)
    // A challenge that another request answers is no use: another one is asked for.
    for (const pause of pauses) {
      const [best] = choice.candidates
      if (best === undefined || (yield* challenges.take(exchange.origin, best.offer, work.id))) break
      yield* Effect.sleep(pause)
      const { answer, elsewhere, value } = yield* Effect.flatMap(exchange.send(undefined), exchange.answer)
      if (answer.status !== 402) return value
      if (Option.isSome(elsewhere)) return yield* Purchase.fail(work, elsewhere.value, money)
      const again = Demand.read(answer, yield* Clock.currentTimeMillis)
      choice = yield* choose(exchange, given, again, unusable)
    }
    const [best] = choice.candidates
    yield* Effect.catch(admission.recall(choice.candidates), (error) =>
      Effect.andThen(
        // Whoever asks once more may be handed the same challenge.
        best === undefined ? Effect.void : challenges.free(exchange.origin, best.offer, work.id),
        Purchase.fail(work, error, "unknown")
      ))
    return yield* walk(work, choice, tried).pipe(
      Effect.tap(() => paid(work)),
      Effect.onInterrupt(() => giveUp(work))
    )
  }, traced)

  /**
   * The session's credential goes out with the request itself: one round trip, and no demand. Without content the ordinary
   * walk decides, and is told what was tried.
   */
  const attachFirst = Effect.fnUntraced(function*<A, E, R>(
    exchange: Exchange<A, E, R>,
    given: Options,
    { live, offer }: Session.Cover
  ) {
    const work = yield* workFor(exchange, given)
    const { agent } = work
    const { origin } = exchange
    const none = { content: Option.none<A>(), tried: Purchase.nothing }
    const resumed = yield* begin(work, "unspent")
    if (Option.isSome(resumed)) return { ...none, content: resumed }
    const renewed = session.acquire({
      rail: live.rail,
      ops: live.ops,
      offer,
      asset: live.asset,
      origin,
      agent,
      resource: Purchase.resourceOf(exchange),
      expected: work.expected
    })
    const result = yield* draw(work, live, offer, "a live session covers this route", renewed).pipe(
      Effect.onError(() => giveUp(work)),
      Effect.result
    )
    if (result._tag === "Failure") {
      const { money, reason } = Purchase.meaningOf(result.failure)
      return reason._tag === "LedgerUnavailable"
        ? yield* Purchase.fail(work, reason, money)
        : { ...none, tried: { ...Purchase.nothing, reason, money } }
    }
    const outcome = result.success
    switch (outcome._tag) {
      case "Content":
        yield* Effect.onInterrupt(paid(work), () => giveUp(work))
        return { ...none, content: Option.some(outcome.value) }
      case "Stop":
        yield* giveUp(work)
        return yield* Purchase.fail(work, outcome.reason, outcome.money)
      case "Void": {
        yield* giveUp(work)
        yield* session.forget(Purchase.routeOf(exchange, agent))
        // The limit is used up, or the price has changed: the demand that follows tells.
        if (outcome.reason._tag === "PaymentRejected") return none
        return exchange.repeatable
          ? { ...none, tried: { ...Purchase.nothing, unusable: new Set([live.rail.name]) } }
          : yield* Purchase.fail(work, outcome.reason, "unspent")
      }
    }
  }, traced)

  const pay = Effect.fnUntraced(function*<A, E, R>(
    exchange: Exchange<A, E, R>
  ): Effect.fn.Return<A, E | PaymentError.PaymentError, R> {
    const given = yield* CurrentOptions
    let tried = Purchase.nothing
    if (!exchange.authorized && Option.isNone(exchange.obstacle)) {
      const cover = yield* session.cover(Purchase.routeOf(exchange, given.agent ?? options.agent))
      // While the clock is in doubt, the server's tells more.
      const attaches = Option.isSome(cover) && covers(cover.value, exchange, given, ceilingOf(given)) &&
        !(yield* admission.isClockInDoubt)
      if (attaches) {
        const attached = yield* attachFirst(exchange, given, cover.value)
        if (Option.isSome(attached.content)) return attached.content.value
        tried = attached.tried
      }
    }
    const { answer, elsewhere, value } = yield* Effect.flatMap(exchange.send(undefined), exchange.answer)
    if (answer.status !== 402) return value
    const demand = Demand.read(answer, yield* Clock.currentTimeMillis)
    if (demand.offers.length === 0 && demand.refused.length === 0) return value
    if (Option.isSome(elsewhere)) {
      return yield* Purchase.fail(yield* workFor(exchange, given), elsewhere.value, tried.money)
    }
    return yield* settle(exchange, given, { answer, demand }, tried)
  })

  const quote = Effect.fn("Payment.quote")(function*<A, E, R>(
    exchange: Exchange<A, E, R>
  ): Effect.fn.Return<Quote, E | PaymentError.PaymentError, R> {
    const given = yield* CurrentOptions
    const { answer, elsewhere } = yield* Effect.flatMap(exchange.send(undefined), exchange.answer)
    const { origin, path } = exchange
    const { status } = answer
    const demand = Demand.read(answer, yield* Clock.currentTimeMillis)
    const agent = given.agent ?? options.agent
    const warned = { agent, origin, path, offers: demand.offers }
    const base = { origin, status, hints: demand.hints }
    if (status !== 402) {
      const free = status >= 200 && status < 300
      const warnings = yield* warn({ ...warned, candidates: [] })
      return { ...base, free, warnings, candidates: [], refused: [], declined: [], failure: Option.none() }
    }
    const choice = yield* choose(exchange, given, demand, new Set())
    return {
      ...base,
      free: false,
      warnings: yield* warn({ ...warned, candidates: choice.candidates }),
      candidates: choice.candidates,
      refused: choice.refused,
      declined: choice.declined,
      failure: Option.firstSomeOf<PaymentError.Reason>([
        exchange.obstacle,
        elsewhere,
        choice.candidates.length === 0 ? Option.some(choice.failure) : Option.none()
      ])
    }
  })

  return Payment.of({ pay, quote })
})

/** What servers of metered sessions take for the management of a session, and answer without content. */
const isManagement = <A, E, R>({ content, method }: Exchange<A, E, R>): boolean =>
  method === "HEAD" || (method === "POST" && content?.length === 0)

const covers = <A, E, R>(
  { live, offer }: Session.Cover,
  exchange: Exchange<A, E, R>,
  given: Options,
  ceiling: bigint
): boolean =>
  Amount.toUsd({ asset: live.asset, units: offer.units }) <= ceiling &&
  (given.rails === undefined || given.rails.includes(live.rail.name)) &&
  !(live.ops.inOrder && isManagement(exchange))

/**
 * Payments over the ledger, the budget, the policy, the sessions and the rails of the program.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: {
  /** How the agent names itself unless `Payment.with({ agent })` says otherwise. */
  readonly agent: string
}): Layer.Layer<
  Payment,
  never,
  | Ledger.Ledger
  | Budget.Budget
  | Policy.Policy
  | Rails.Rails
  | Session.Session
  | SecureRandom.SecureRandom
  | Chain
  | Foreign
> => Layer.effect(Payment, make(options))
