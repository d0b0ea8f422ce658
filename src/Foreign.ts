/**
 * Compares the ledger with the chains: what the wallet has paid and the ledger does not know was signed by a ledger that this
 * one was copied from, or by another program with the same key. It counts as spent.
 *
 * What was paid while nobody wrote in this ledger may have been known to it, and forgotten when an earlier state was put back.
 * The next purchase that equals such a payment is stopped, once. A ledger that knows that it was copied signs nothing on a
 * chain before it has been compared with it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Semaphore from "effect/Semaphore"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import * as Budget from "./Budget.ts"
import * as Ledger from "./Ledger.ts"
import type { Account, Movement } from "./Movement.ts"
import { type LedgerUnavailable, PolicyDenied } from "./PaymentError.ts"
import { isSamePayee } from "./Policy.ts"
import * as Rails from "./Rails.ts"

/**
 * What is about to be paid.
 *
 * @category models
 * @since 0.1.0
 */
export interface Purchased {
  readonly asset: Asset
  readonly payer: string
  readonly payee: string
  readonly units: bigint
}

/**
 * Money that the ledger does not know.
 *
 * @category services
 * @since 0.1.0
 */
export class Foreign extends Context.Service<Foreign, {
  /** Compares every account once; one that cannot be is compared the next time. */
  readonly compare: Effect.Effect<void>
  /**
   * Why nothing may be signed for an account now. A ledger that was copied is compared first, and the first comparison is
   * waited for, for a moment.
   */
  readonly objections: Effect.Effect<
    (account: Pick<Purchased, "asset" | "payer">) => Option.Option<PolicyDenied>
  >
  /** The payment that one of these purchases may repeat. Each is told once. */
  readonly recall: (
    purchases: ReadonlyArray<Purchased>
  ) => Effect.Effect<Option.Option<Ledger.Foreign>, LedgerUnavailable>
}>()("effect-mpp/Foreign") {}

/** Nobody waits for a chain longer. */
const patience = Duration.minutes(1)

/** A ledger that is in doubt is worth this much of waiting; one that is compared by the way, a moment. */
const waits = { doubt: Duration.seconds(10), moment: Duration.seconds(2) }

/** By how much the chain's clock and ours may differ. */
const skewMillis = 2 * 60_000

/** Whoever buys the same again after a day means to. */
const rememberedMillis = 24 * 60 * 60_000

const concurrency = 4

const isSameAccount = (account: Account | Ledger.Foreign, { asset, payer }: Pick<Purchased, "asset" | "payer">) => {
  const address = typeof account.asset === "string" ? account.asset : account.asset.address
  return account.network === asset.network && isSamePayee(address, asset.address) && isSamePayee(account.payer, payer)
}

/** What nobody knows of some payments: an authorisation stands for one of them. */
const strangers = (
  { hasUniqueMarks }: Account,
  movements: ReadonlyArray<Movement>,
  known: ReadonlyArray<Ledger.Known>
): ReadonlyArray<Movement> => {
  const taken = new Set<string>()
  return movements.filter(({ marks, transaction }) => {
    const like = known.filter(({ mark }) => marks.includes(mark))
    const own = hasUniqueMarks ? like[0] : like.find((one) => one.transaction?.toLowerCase() === transaction) ??
      like.find(({ id, transaction }) => transaction === undefined && !taken.has(id))
    if (own !== undefined) taken.add(own.id)
    return own === undefined
  })
}

const make = Effect.fnUntraced(function*(options: { readonly agent: string }) {
  const ledger = yield* Ledger.Ledger
  const rails = yield* Rails.Rails
  const budget = yield* Budget.Budget
  const scope = yield* Effect.scope
  const openedAt = yield* Clock.currentTimeMillis
  const about = yield* Effect.option(ledger.about)
  const { authorizedAt, generation } = Option.getOrElse(about, () => ({ authorizedAt: openedAt, generation: 1 }))
  /** What may have been forgotten, by its reference; and what was told of it, or is not final and so not in the ledger. */
  const forgotten = yield* Ref.make<ReadonlyMap<string, Ledger.Foreign>>(new Map())
  const told = yield* Ref.make<ReadonlySet<string>>(new Set())
  const isInDoubt = yield* Ref.make(generation > 1)
  const first = yield* Latch.make(true)
  const isFirst = yield* Ref.make(true)
  const oneAtATime = yield* Semaphore.make(1)

  const accounts = Effect.map(rails.all, (all) => [
    ...new Map(all.flatMap(({ accounts = [] }) => accounts.map((account) => [account.name, account] as const))).values()
  ])

  const countersOf = (payer: string) =>
    budget.limits({ agent: options.agent, origin: "", payer })
      .filter(({ scope }) => scope === "agent" || scope === "wallet")
      .map(({ counter }) => counter)

  const entryOf = Effect.fnUntraced(function*({ asset, network, payer }: Account, movement: Movement) {
    const { at, fee, payee, units } = yield* movement.details
    const now = Math.floor(yield* Clock.currentTimeMillis)
    // A ledger by which nothing was ever signed has nothing to forget.
    const wasClosed = authorizedAt > 0 && at >= authorizedAt - skewMillis && at <= openedAt + skewMillis
    return new Ledger.Foreign({
      reference: movement.reference,
      network,
      asset: asset.address,
      payer,
      payee,
      units,
      usd: Amount.toUsd({ asset, units: units + fee }),
      transaction: movement.transaction,
      counters: [...new Set(countersOf(payer))],
      at: Math.max(0, Math.min(Math.floor(at), now)),
      notedAt: now,
      maybeForgotten: wasClosed && !(yield* Ref.get(told)).has(movement.reference)
    })
  })

  /** Answers what is new of it. */
  const compareOne = Effect.fnUntraced(function*(account: Account) {
    const before = Option.getOrUndefined(yield* ledger.watermark(account.name))
    const { isComplete, movements, until } = yield* account.moved(before?.block)
    const all = [...new Map(movements.map((movement) => [movement.reference, movement])).values()]
    const known = yield* ledger.marked([...new Set(all.flatMap(({ marks }) => marks))])
    const noted: Array<Ledger.Foreign> = []
    yield* Effect.forEach(
      strangers(account, all, known),
      Effect.fnUntraced(function*(movement) {
        const entry = yield* entryOf(account, movement)
        if (entry.usd === 0n) return
        const isNew = movement.isFinal ? yield* ledger.foreign(entry) : false
        if (isNew) noted.push(entry)
        if (entry.maybeForgotten && (isNew || !movement.isFinal)) {
          yield* Ref.update(forgotten, (all) => new Map(all).set(entry.reference, entry))
        }
      }),
      { concurrency, discard: true }
    )
    const reached = isComplete || before === undefined ? generation : before.generation
    if (before?.block !== until || before.generation !== reached) {
      yield* ledger.compared(account.name, { block: until, generation: reached })
    }
    return noted
  })

  const warn = (noted: ReadonlyArray<Ledger.Foreign>) => {
    const usd = noted.reduce((sum, one) => sum + one.usd, 0n)
    const payments = noted.length === 1 ? "1 payment" : `${noted.length} payments`
    const wallets = [...new Set(noted.map(({ network, payer }) => `${payer} on ${network}`))].join(", ")
    return Effect.logWarning(
      `${payments} of $${
        Amount.formatUsd(usd)
      } in all left ${wallets}, and this ledger does not know of them: it was copied or ` +
        "restored, or another program pays with the same wallet. They count as spent"
    )
  }

  const compareAll = Effect.gen(function*() {
    const remembered = yield* ledger.foreigns({ maybeForgotten: true, limit: 1_000 })
    yield* Ref.update(forgotten, (all) => new Map([...all, ...remembered.map((one) => [one.reference, one] as const)]))
    const noted = yield* Effect.forEach(yield* accounts, (account) =>
      compareOne(account).pipe(
        Effect.timeout(patience),
        Effect.catch((error) => {
          const why = error._tag === "TimeoutError" ? "it takes too long" : error.message
          return Effect.as(Effect.logDebug("could not compare the ledger with", account.network, why), [])
        }),
        Effect.catchDefect(() =>
          Effect.as(Effect.logWarning("a rail could not say what left its wallet on", account.network), [])
        )
      ), { concurrency })
    if (noted.some(({ length }) => length > 0)) yield* warn(noted.flat())
  }).pipe(
    Effect.catch((error) => Effect.logWarning("could not compare the ledger with the chains", error.message))
  )

  const compare = Effect.flatMap(
    Ref.getAndSet(isFirst, false),
    (isFirst) => Effect.andThen(isFirst ? first.close : Effect.void, oneAtATime.withPermits(1)(compareAll))
  ).pipe(Effect.ensuring(first.open))

  const doubtful = Effect.fnUntraced(function*() {
    const doubts: Array<Account> = []
    for (const account of yield* accounts) {
      const before = yield* ledger.watermark(account.name)
      if (Option.exists(before, (it) => it.generation !== generation)) doubts.push(account)
    }
    return doubts
  })

  const none = () => Option.none<PolicyDenied>()

  const deny =
    (isDoubtful: (account: Pick<Purchased, "asset" | "payer">) => boolean) =>
    (account: Pick<Purchased, "asset" | "payer">) =>
      isDoubtful(account)
        ? Option.some(
          new PolicyDenied({
            rule: "ledger-copied",
            detail: `the ledger was copied or restored, and what was paid from ${account.payer} since is not known: ` +
              `${account.asset.network} has not answered yet`
          })
        )
        : Option.none()

  const objections = Effect.gen(function*() {
    if (!(yield* Ref.get(isInDoubt))) {
      // A program that does not sweep compares by the way when it first pays.
      if (yield* Ref.get(isFirst)) yield* Effect.forkIn(compare, scope)
      else if (!first.isOpen()) yield* Effect.timeoutOption(first.await, waits.moment)
      return none
    }
    if ((yield* doubtful()).length > 0) yield* Effect.timeoutOption(compare, waits.doubt)
    const doubts = yield* doubtful()
    if (doubts.length === 0) {
      yield* Ref.set(isInDoubt, false)
      return none
    }
    return deny((account) => doubts.some((doubt) => isSameAccount(doubt, account)))
  }).pipe(Effect.catch(() => Effect.succeed(deny(() => true))))

  const recall = Effect.fnUntraced(function*(purchases: ReadonlyArray<Purchased>) {
    const all = yield* Ref.get(forgotten)
    if (all.size === 0) return Option.none()
    const now = yield* Clock.currentTimeMillis
    for (const entry of all.values()) {
      const isRepeated = now - entry.at < rememberedMillis &&
        purchases.some((purchase) =>
          isSameAccount(entry, purchase) && isSamePayee(entry.payee, purchase.payee) && entry.units === purchase.units
        )
      if (!isRepeated) continue
      const isUntold = yield* Ref.modify(told, (told) => [
        !told.has(entry.reference),
        new Set([...told, entry.reference])
      ])
      yield* Ref.update(forgotten, (all) => new Map([...all].filter(([reference]) => reference !== entry.reference)))
      yield* ledger.recalled(entry.reference)
      if (isUntold) return Option.some(entry)
    }
    return Option.none()
  })

  return Foreign.of({ compare: Effect.withSpan(compare, "Foreign.compare"), objections, recall })
})

/**
 * The comparison for an agent, in whose window of the budget it counts what others have paid with its wallet.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: {
  readonly agent: string
}): Layer.Layer<Foreign, never, Ledger.Ledger | Rails.Rails | Budget.Budget> => Layer.effect(Foreign, make(options))
