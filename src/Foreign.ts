/**
 * Compares the ledger with the chains: what the wallet has paid and the ledger does not know was signed by a ledger that this
 * one was copied from, or by another program with the same key. It counts as spent.
 *
 * What was paid while nobody wrote in this ledger may have been known to it, and forgotten when an earlier state was put back.
 * The next purchase that equals such a payment is stopped, once. A ledger that knows that it was copied signs nothing on a
 * chain before it has been compared with it, and nothing at all on one that nobody can ask about.
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
import { PolicyDenied } from "./PaymentError.ts"
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
  readonly recall: (purchases: ReadonlyArray<Purchased>) => Effect.Effect<Option.Option<Ledger.Foreign>>
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

/** An account is compared in so many goes at most before others get their turn. */
const maxGoes = 16

/** What a chain is said to have moved may be any number. The books have room for more of this than anybody can note. */
const most = { units: 2n ** 256n - 1n, usd: 10n ** 18n }

const least = (one: bigint, other: bigint) => one < other ? one : other

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

/** A ledger by which nothing was ever signed has nothing to forget, unless it is the copy of one that has signed since. */
const mayForget = ({ authorizedAt, generation }: Ledger.About) => authorizedAt > 0 || generation > 1

const make = Effect.fnUntraced(function*(options: { readonly agent: string }) {
  const ledger = yield* Ledger.Ledger
  const rails = yield* Rails.Rails
  const budget = yield* Budget.Budget
  const scope = yield* Effect.scope
  const openedAt = yield* Clock.currentTimeMillis
  const identity = yield* Ref.make(Option.none<Ledger.About>())
  /** What may have been forgotten, by its reference; and what was told of it. */
  const forgotten = yield* Ref.make<ReadonlyMap<string, Ledger.Foreign>>(new Map())
  const told = yield* Ref.make<ReadonlySet<string>>(new Set())
  const isInDoubt = yield* Ref.make(true)
  const first = yield* Latch.make(true)
  const isFirst = yield* Ref.make(true)
  const oneAtATime = yield* Semaphore.make(1)

  /** The ledger as it was found. Nothing is believed of one that could not be read. */
  const about = Effect.flatMap(
    Ref.get(identity),
    Option.match({
      onNone: () => Effect.tap(ledger.about, (it) => Ref.set(identity, Option.some(it))),
      onSome: Effect.succeed
    })
  )
  yield* Effect.ignore(about)

  const accounts = Effect.map(rails.all, (all) => [
    ...new Map(all.flatMap(({ accounts = [] }) => accounts.map((account) => [account.name, account] as const))).values()
  ])

  const countersOf = (payer: string) =>
    budget.limits({ agent: options.agent, origin: "", payer })
      .filter(({ scope }) => scope === "agent" || scope === "wallet")
      .map(({ counter }) => counter)

  const entryOf = Effect.fnUntraced(function*(
    { asset, network, payer }: Account,
    movement: Movement,
    found: Ledger.About
  ) {
    const { at, fee, payee, units } = yield* movement.details
    const now = Math.floor(yield* Clock.currentTimeMillis)
    const wasClosed = mayForget(found) && at >= found.authorizedAt - skewMillis && at <= openedAt + skewMillis
    return new Ledger.Foreign({
      reference: movement.reference,
      network,
      asset: asset.address,
      payer,
      payee,
      units: least(units, most.units),
      usd: least(Amount.toUsd({ asset, units: units + fee }), most.usd),
      transaction: movement.transaction,
      counters: [...new Set(countersOf(payer))],
      at: Math.max(0, Math.min(Math.floor(at), now)),
      notedAt: now,
      maybeForgotten: wasClosed && !(yield* Ref.get(told)).has(movement.reference)
    })
  })

  type Noted = Ref.Ref<ReadonlyArray<Ledger.Foreign>>

  /** One go, which is written down. Answers whether there is more to look at. */
  const goOn = Effect.fnUntraced(function*(account: Account, noted: Noted) {
    const found = yield* about
    const { authorizedAt, generation } = found
    const before = Option.getOrUndefined(yield* ledger.watermark(account.name))
    // A ledger that was never compared has known everything until it signed last.
    const since = before?.block ?? (authorizedAt > 0 ? { at: authorizedAt - skewMillis } : undefined)
    const { isComplete, movements, until } = yield* account.moved(since)
    const all = [...new Map(movements.map((movement) => [movement.reference, movement])).values()]
    const known = yield* ledger.marked([...new Set(all.flatMap(({ marks }) => marks))])
    yield* Effect.forEach(
      strangers(account, all, known),
      Effect.fnUntraced(function*(movement) {
        const entry = yield* entryOf(account, movement, found)
        if (entry.usd === 0n) return
        const isNew = movement.isFinal ? yield* ledger.foreign(entry) : false
        if (isNew) yield* Ref.update(noted, (all) => [...all, entry])
        if (entry.maybeForgotten && (isNew || !movement.isFinal)) {
          yield* Ref.update(forgotten, (all) => new Map(all).set(entry.reference, entry))
        }
      }),
      { concurrency, discard: true }
    )
    // To look at something again does no harm; that a node is behind is no reason to believe a copy.
    if (before !== undefined && until < before.block && before.generation !== generation) return false
    const reached = isComplete ? generation : before?.generation ?? 0
    if (before?.block !== until || before.generation !== reached) {
      yield* ledger.compared(account.name, { block: until, generation: reached })
    }
    return !isComplete && (before === undefined || until > before.block)
  })

  const compareOne = Effect.fnUntraced(function*(account: Account, noted: Noted) {
    for (let go = 0; go < maxGoes; go++) {
      if (!(yield* goOn(account, noted))) return
    }
  })

  const warn = (noted: ReadonlyArray<Ledger.Foreign>) => {
    if (noted.length === 0) return Effect.void
    const usd = noted.reduce((sum, one) => sum + one.usd, 0n)
    const payments = noted.length === 1 ? "1 payment" : `${noted.length} payments`
    const wallets = [...new Set(noted.map(({ network, payer }) => `${payer} on ${network}`))].join(", ")
    return Effect.logWarning(
      `${payments} of $${
        Amount.formatUsd(usd)
      } in all left ${wallets}, and this ledger does not know of them: it was copied or ` +
        "restored, or another program pays with the same wallet. They count as spent; `mpp payments` lists them"
    )
  }

  const compareAll = Effect.gen(function*() {
    const remembered = yield* ledger.foreigns({ maybeForgotten: true, limit: 1_000 })
    yield* Ref.update(forgotten, (all) => new Map([...all, ...remembered.map((one) => [one.reference, one] as const)]))
    const noted: Noted = yield* Ref.make<ReadonlyArray<Ledger.Foreign>>([])
    yield* Effect.forEach(yield* accounts, (account) =>
      compareOne(account, noted).pipe(
        Effect.timeout(patience),
        Effect.catch((error) => {
          const why = error._tag === "TimeoutError" ? "it takes too long" : error.message
          return Effect.logDebug("could not compare the ledger with", account.network, why)
        }),
        Effect.catchDefect(() => Effect.logWarning("a rail could not say what left its wallet on", account.network))
      ), { concurrency: "unbounded", discard: true }).pipe(
        Effect.ensuring(Effect.flatMap(Ref.get(noted), warn))
      )
  }).pipe(
    Effect.catch((error) => Effect.logWarning("could not compare the ledger with the chains", error.message))
  )

  const compare = Effect.flatMap(
    Ref.getAndSet(isFirst, false),
    (isFirst) => Effect.andThen(isFirst ? first.close : Effect.void, oneAtATime.withPermits(1)(compareAll))
  ).pipe(Effect.ensuring(first.open))

  /** The accounts that a copy was not compared with since. */
  const doubtful = Effect.fnUntraced(function*({ authorizedAt, generation }: Ledger.About) {
    const doubts: Array<Account> = []
    for (const account of yield* accounts) {
      const before = yield* ledger.watermark(account.name)
      const isDoubtful = Option.match(before, {
        onNone: () => authorizedAt > 0,
        onSome: (it) => it.generation !== generation
      })
      if (isDoubtful) doubts.push(account)
    }
    return doubts
  })

  const none = () => Option.none<PolicyDenied>()

  const deny = (detail: string) => Option.some(new PolicyDenied({ rule: "ledger-copied", detail }))

  const unread = () =>
    deny("the ledger cannot be read, so that nobody knows whether it was copied or restored. Ask again when it can")

  /** Why a copy signs nothing for an account. Of what other rails than these pay, nobody could ever be asked. */
  const objectionOf = (
    watched: ReadonlyArray<Rails.Rail>,
    known: ReadonlyArray<Account>,
    doubts: ReadonlyArray<Account>,
    account: Pick<Purchased, "asset" | "payer">
  ) => {
    const { network } = account.asset
    const copied = `the ledger was copied or restored, and what was paid from ${account.payer} since is not known`
    if (doubts.some((doubt) => isSameAccount(doubt, account))) {
      return deny(
        `${copied}: ${network} has not answered yet, or there is more to look through. \`mpp reconcile --watch\` goes on ` +
          "with it"
      )
    }
    const isWatched = watched.some(({ accounts, payer }) => accounts !== undefined && isSamePayee(payer, account.payer))
    if (!isWatched || known.some((one) => isSameAccount(one, account))) return Option.none()
    return deny(
      `${copied}: no node of ${network} is configured that could be asked. Set ` +
        `MPP_RPC_${network.replace("eip155:", "")}, or begin with a new ledger if nothing was paid since`
    )
  }

  /** A program that does not sweep compares when it first pays. What may have forgotten something waits for it, a moment. */
  const byTheWay = Effect.fnUntraced(function*(found: Ledger.About) {
    if (yield* Ref.get(isFirst)) yield* Effect.forkIn(compare, scope, { startImmediately: true })
    if (mayForget(found) && !first.isOpen()) yield* Effect.timeoutOption(first.await, waits.moment)
  })

  const objections = Effect.gen(function*() {
    const found = yield* about
    const isCopy = found.generation > 1
    const asks = isCopy && (yield* Ref.get(isInDoubt)) && (yield* doubtful(found)).length > 0
    if (asks) yield* Effect.timeoutOption(compare, waits.doubt)
    else yield* byTheWay(found)
    if (!isCopy) return none
    const doubts = (yield* Ref.get(isInDoubt)) ? yield* doubtful(found) : []
    if (doubts.length === 0) yield* Ref.set(isInDoubt, false)
    // An empty ledger may be copied to begin with: to ask about nothing, nobody needs a node.
    const watched = found.authorizedAt > 0 ? yield* rails.all : []
    const known = yield* accounts
    return (account: Pick<Purchased, "asset" | "payer">) => objectionOf(watched, known, doubts, account)
  }).pipe(Effect.catch(() => Effect.succeed(unread)))

  /**
   * After the caller has heard of it: who dies in between is told again. It is noted even where it is not final yet, or
   * another process would tell it again until it is.
   */
  const recalled = (entry: Ledger.Foreign) =>
    Effect.yieldNow.pipe(
      Effect.andThen(ledger.foreign(new Ledger.Foreign({ ...entry, maybeForgotten: false }))),
      Effect.andThen(ledger.recalled(entry.reference)),
      Effect.catch((error) => Effect.logWarning("what was told of a payment could not be written down", error.message)),
      Effect.uninterruptible,
      Effect.forkIn(scope, { startImmediately: true })
    )

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
      if (!isUntold) continue
      yield* recalled(entry)
      return Option.some(entry)
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
