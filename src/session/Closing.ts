/**
 * How a session ends: nobody draws on it any more, the draws under way come to their end, and its authority says the final
 * figure. That figure alone proves what became of a draw: as long as a token lives, a debit can come late.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Ledger from "../Ledger.ts"
import type { LedgerUnavailable } from "../PaymentError.ts"
import { drawnOf, finalFigure, type Live } from "./Establish.ts"

/** Draws under way are waited for this long; the final figure then decides about them too. */
const drainTimeout = Duration.seconds(5)

interface Drawing {
  readonly draws: Set<string>
  /** Completed when the last of them has ended. */
  drained: Deferred.Deferred<void> | undefined
}

/**
 * Makes the closing of sessions, and the account of who is drawing on them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  // Its finalizer runs after those of whoever closes sessions at the end.
  const background = yield* Scope.make()
  yield* Effect.addFinalizer((exit) => Scope.close(background, exit))
  const drawing = new Map<string, Drawing>()
  const closing = new Map<string, Deferred.Deferred<void, LedgerUnavailable>>()
  const unfinished = new Map<string, Live>()

  const begin = (session: string, draw: string) => {
    const entry = drawing.get(session)
    if (entry === undefined) drawing.set(session, { draws: new Set([draw]), drained: undefined })
    else entry.draws.add(draw)
  }

  const end = (session: string, draw: string) => {
    const entry = drawing.get(session)
    if (entry === undefined) return
    entry.draws.delete(draw)
    if (entry.draws.size > 0) return
    drawing.delete(session)
    if (entry.drained !== undefined) Deferred.doneUnsafe(entry.drained, Effect.void)
  }

  /** A draw is under way until this has ended, or until {@link ended} says that its outcome is unknown. */
  const during = <A, E, R>(session: string, draw: string, carry: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      begin(session, draw)
      return Effect.ensuring(carry, ended(session, draw))
    })

  const ended = (session: string, draw: string) => Effect.sync(() => end(session, draw))

  const drained = (session: string) =>
    Effect.suspend(() => {
      const entry = drawing.get(session)
      if (entry === undefined) return Effect.void
      entry.drained ??= Deferred.makeUnsafe()
      return Effect.asVoid(Effect.timeoutOption(Deferred.await(entry.drained), drainTimeout))
    })

  /** Without an answer of the authority the hold stays: the reconciler's work. */
  const closeOnce = Effect.fn("Session.close")(function*(live: Live, next: "closing" | "suspect") {
    yield* ledger.updateSession(live.id, { state: next })
    yield* drained(live.id)
    const record = yield* ledger.session(live.id)
    if (Option.isNone(record)) return
    const figures = yield* Effect.result(live.ops.close(live.handle, drawnOf(record.value)))
    if (figures._tag === "Failure") return
    yield* ledger.closeSession(live.id, finalFigure(figures.success))
    unfinished.delete(live.id)
  })

  /** Closes a session once, however many ask for it; whoever gives up waiting does not stop it for the others. */
  const close = (live: Live, next: "closing" | "suspect"): Effect.Effect<void, LedgerUnavailable> =>
    Effect.flatMap(Effect.uninterruptible(turn(live, next)), Deferred.await)

  const turn = (live: Live, next: "closing" | "suspect") =>
    Effect.suspend(() => {
      const running = closing.get(live.id)
      if (running !== undefined) return Effect.succeed(running)
      const done = Deferred.makeUnsafe<void, LedgerUnavailable>()
      closing.set(live.id, done)
      unfinished.set(live.id, live)
      return closeOnce(live, next).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            closing.delete(live.id)
            Deferred.doneUnsafe(done, exit)
          })
        ),
        Effect.forkIn(background),
        Effect.as(done)
      )
    })

  return {
    during,
    ended,
    close,
    /** Sessions whose closing has begun and not come to its figure. */
    unfinished: Effect.sync((): ReadonlyArray<Live> => [...unfinished.values()])
  }
})
