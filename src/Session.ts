/**
 * Pre-authorised spending: cover, establish, draw, renew, close.
 *
 * A session is opened once per agent, origin and realm, and every fiber of the program draws on it. Opening is
 * single-flight and runs in this service's scope: the fiber that asked first can be interrupted without harm to the
 * others. A failed opening is not remembered. When the scope closes, every session is closed at its authority, or parked for
 * the next process where it needs no secret and the ledger is durable.
 *
 * The service keeps only what may be forgotten: which session is live, and which tariff was seen on which route. What
 * matters for the money is in the ledger.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Budget from "./Budget.ts"
import * as Ledger from "./Ledger.ts"
import type { Offer } from "./Offer.ts"
import type * as PaymentError from "./PaymentError.ts"
import type * as Rails from "./Rails.ts"
import * as Closing from "./session/Closing.ts"
import * as Establish from "./session/Establish.ts"
import { drawnOf, failing, type Live, type Need, type SessionFailure, usd } from "./session/Establish.ts"
import * as Parking from "./session/Parking.ts"

export { drawnOf, type Live, type Need, type SessionFailure } from "./session/Establish.ts"

/**
 * A session that covers a route, and the offer that was seen there: what is drawn when its credential goes out with the
 * request itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Cover {
  readonly live: Live
  readonly offer: Offer
}

/**
 * What became of a draw of unknown outcome.
 *
 * @category models
 * @since 0.1.0
 */
export type Resolution =
  | { readonly _tag: "Unspent" }
  | { readonly _tag: "Spent"; readonly usd: bigint }
  | { readonly _tag: "Open" }

/**
 * Where a tariff was seen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Route {
  readonly agent: string
  readonly origin: string
  readonly method: string
  /** Without the query. */
  readonly path: string
}

/** How long closing one session may take while a program ends: that its authority answers, or that a block is final. */
const closeTimeout = ({ ops }: Live) => ops.attests ? Duration.seconds(2) : Duration.seconds(20)

/** More routes than this are not remembered; the oldest are forgotten first. */
const maxRoutes = 4096

/** A session is not drawn on in its last moments: the server's clock may be ahead of ours. */
const expiryMarginMillis = 2_000

/**
 * Pre-authorised spending.
 *
 * @category services
 * @since 0.1.0
 */
export class Session extends Context.Service<Session, {
  /** The live session whose tariff was seen on this very route; never opens one. */
  readonly cover: (route: Route) => Effect.Effect<Option.Option<Cover>>
  /** Whether a live session would serve this offer. */
  readonly isLive: (need: Omit<Need, "expected" | "resource" | "asset">) => Effect.Effect<boolean>
  /**
   * The live session for this need; opens one, or replaces one that is used up or expired. A failure says whether the limit
   * of what could not be opened is held all the same.
   */
  readonly acquire: (need: Need) => Effect.Effect<Live, SessionFailure>
  /** Notes that this offer was paid on this route by this session. */
  readonly learn: (route: Route, cover: Cover) => Effect.Effect<void>
  readonly forget: (route: Route) => Effect.Effect<void>
  /** Carries a draw out. The session is not closed under it without need. */
  readonly drawing: <A, E, R>(live: Live, draw: string, carry: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Finds out what became of a draw. Its session is closed for that: as long as its token lives, a debit can come late, and
   * only the final figure proves that none will.
   */
  readonly resolve: (
    live: Live,
    draw: Ledger.Authorization
  ) => Effect.Effect<Resolution, PaymentError.LedgerUnavailable>
  /** The session is expired: read and close it, so that what it did not spend is back before the next one is opened. */
  readonly expire: (live: Live) => Effect.Effect<void, PaymentError.LedgerUnavailable>
  /** Closes a session that took more than it was asked for; it is not drawn on again. */
  readonly suspect: (live: Live) => Effect.Effect<void, PaymentError.LedgerUnavailable>
  /** Finds a session that is live, or whose closing has not come to its figure, by its id. */
  readonly find: (id: string) => Effect.Effect<Option.Option<Live>>
  /** Closes every session; those that were parked by others stay so. */
  readonly closeAll: Effect.Effect<void>
}>()("effect-mpp/Session") {}

interface State {
  readonly live: ReadonlyMap<string, Live>
  readonly opening: ReadonlyMap<string, Deferred.Deferred<Live, SessionFailure>>
  readonly routes: ReadonlyMap<string, Cover>
}

const keyOf = (agent: string, origin: string, rail: Rails.Rail, ops: Rails.SessionOps, offer: Offer) =>
  [agent, origin, rail.name, ops.key(offer)].join("\n")

/** A prefix that the program listed stands for all paths below it. */
const nameOf = ({ agent, method, origin, path }: Route, prefixes: ReadonlyArray<string>) =>
  [agent, origin, method, prefixes.find((prefix) => path.startsWith(prefix)) ?? path].join("\n")

const without = <V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> => {
  const rest = new Map(map)
  rest.delete(key)
  return rest
}

const make = Effect.fnUntraced(function*(prefixes: ReadonlyArray<string>) {
  const ledger = yield* Ledger.Ledger
  const establish = yield* Establish.make
  const closing = yield* Closing.make
  const parking = yield* Parking.make
  const scope = yield* Effect.scope
  const state = yield* Ref.make<State>({ live: new Map(), opening: new Map(), routes: new Map() })

  const drop = (live: Live) =>
    Ref.update(
      state,
      (now) => now.live.get(live.key)?.id === live.id ? { ...now, live: without(now.live, live.key) } : now
    )

  const close = (live: Live, next: "closing" | "suspect") => Effect.andThen(drop(live), closing.close(live, next))

  const open = Effect.fnUntraced(
    function*(need: Need, key: string, replaced: Live | undefined, restore: Establish.Restore) {
      if (replaced !== undefined) yield* failing("unspent")(close(replaced, "closing"))
      const parked = replaced === undefined ? yield* failing("unspent")(parking.adopt(need, key)) : Option.none()
      const live = Option.isSome(parked) ? parked.value : yield* establish(need, key, restore)
      yield* Ref.update(state, (now) => ({ ...now, live: new Map(now.live).set(key, live) }))
      return live
    }
  )

  const usable = Effect.fnUntraced(function*(live: Live, price: bigint) {
    const now = yield* Clock.currentTimeMillis
    if (now >= live.handle.expiresAt - expiryMarginMillis) return false
    const record = yield* ledger.session(live.id)
    return Option.exists(
      record,
      (it) =>
        it.state === "live" && it.spentUsd + it.reservedUsd + price <= it.limitUsd &&
        live.ops.isWorn?.(drawnOf(it), price) !== true
    )
  })

  const acquire = Effect.fnUntraced(function*(need: Need): Effect.fn.Return<Live, SessionFailure> {
    const key = keyOf(need.agent, need.origin, need.rail, need.ops, need.offer)
    const present = (yield* Ref.get(state)).live.get(key)
    if (present !== undefined && (yield* failing("unspent")(usable(present, usd(need.offer.units))))) return present
    return yield* Effect.flatMap(Effect.uninterruptible(turn(need, key, present)), Deferred.await)
  })

  /** The opening that is under way, or a new one. What has begun here ends in this service's scope, not in the caller's. */
  const turn = Effect.fnUntraced(function*(need: Need, key: string, present: Live | undefined) {
    const deferred = Deferred.makeUnsafe<Live, SessionFailure>()
    type Turn = { readonly mine: boolean; readonly opening: Deferred.Deferred<Live, SessionFailure> }
    const { mine, opening } = yield* Ref.modify(state, (now): readonly [Turn, State] => {
      const running = now.opening.get(key)
      if (running !== undefined) return [{ mine: false, opening: running }, now]
      // Somebody may have finished between our look and this one: then his session is as good as a new one.
      const other = now.live.get(key)
      if (other !== undefined && other.id !== present?.id) {
        Deferred.doneUnsafe(deferred, Effect.succeed(other))
        return [{ mine: false, opening: deferred }, now]
      }
      return [{ mine: true, opening: deferred }, { ...now, opening: new Map(now.opening).set(key, deferred) }]
    })
    if (mine) {
      yield* Effect.uninterruptibleMask((restore) => open(need, key, present, restore)).pipe(
        Effect.onExit((exit) =>
          Effect.andThen(
            Ref.update(state, (now) => ({ ...now, opening: without(now.opening, key) })),
            Deferred.done(deferred, exit)
          )
        ),
        Effect.forkIn(scope)
      )
    }
    return opening
  })

  const resolve = Effect.fnUntraced(function*(live: Live, draw: Ledger.Authorization) {
    yield* closing.ended(live.id, draw.id)
    yield* close(live, "closing")
    const now = Option.getOrUndefined(yield* ledger.authorization(draw.id))
    switch (now?.state) {
      case "released":
        return { _tag: "Unspent" } as const
      case "settled":
        return { _tag: "Spent", usd: now.spentUsd } as const
      default:
        return { _tag: "Open" } as const
    }
  })

  const closeAll = Effect.gen(function*() {
    const { live } = yield* Ref.get(state)
    yield* Effect.forEach(
      [...live.values(), ...(yield* closing.unfinished)],
      (one) => Effect.ignore(Effect.timeoutOption(close(one, "closing"), closeTimeout(one))),
      { concurrency: "unbounded", discard: true }
    )
  })
  /** What the next process can go on with is left to it. */
  const end = Effect.gen(function*() {
    const { live } = yield* Ref.get(state)
    for (const one of live.values()) if (yield* parking.park(one)) yield* drop(one)
    yield* closeAll
  })
  yield* Effect.addFinalizer(() => end)

  return Session.of({
    acquire,
    drawing: (live, draw, carry) => closing.during(live.id, draw, carry),
    resolve,
    closeAll,
    cover: Effect.fnUntraced(function*(route) {
      const { live, routes } = yield* Ref.get(state)
      if (live.size === 0) return Option.none()
      const seen = routes.get(nameOf(route, prefixes))
      const session = seen && live.get(seen.live.key)
      if (seen === undefined || session === undefined) return Option.none()
      const until = Math.min(session.handle.expiresAt, seen.offer.expiresAt ?? Infinity)
      return (yield* Clock.currentTimeMillis) < until - expiryMarginMillis
        ? Option.some({ live: session, offer: seen.offer })
        : Option.none()
    }),
    isLive: ({ agent, offer, ops, origin, rail }) =>
      Effect.flatMap(Ref.get(state), ({ live }) => {
        const present = live.get(keyOf(agent, origin, rail, ops, offer))
        return present === undefined
          ? Effect.succeed(false)
          : Effect.orElseSucceed(usable(present, usd(offer.units)), () => false)
      }),
    learn: (route, cover) =>
      Ref.update(state, (now) => {
        const name = nameOf(route, prefixes)
        const known = now.routes.get(name)
        const isKnown = known?.live.key === cover.live.key && known.offer.units === cover.offer.units &&
          known.offer.expiresAt === cover.offer.expiresAt
        if (isKnown) return now
        const routes = new Map(now.routes)
        if (routes.size >= maxRoutes) routes.delete(routes.keys().next().value!)
        return { ...now, routes: routes.set(name, cover) }
      }),
    forget: (route) => Ref.update(state, (now) => ({ ...now, routes: without(now.routes, nameOf(route, prefixes)) })),
    expire: (live) => close(live, "closing"),
    suspect: (live) => close(live, "suspect"),
    find: Effect.fnUntraced(function*(id) {
      const { live } = yield* Ref.get(state)
      const all = [...live.values(), ...(yield* closing.unfinished)]
      return Option.fromUndefinedOr(all.find((one) => one.id === id))
    })
  })
})

/**
 * Sessions over the ledger and the budget of the program. Closing the layer's scope closes every session.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: {
  /** Prefixes of paths below which every route has the same tariff: a session attaches first to all of them. */
  readonly attach?: ReadonlyArray<string> | undefined
} = {}): Layer.Layer<Session, never, Ledger.Ledger | Budget.Budget | SecureRandom.SecureRandom> =>
  Layer.effect(Session, make(options.attach ?? []))
