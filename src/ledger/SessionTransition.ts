/**
 * Which step of a session and of its draws is legal, and what it does to the money. Pure, like the steps of other
 * authorisations.
 *
 * A session's limit is held by one authorisation. What its draws reserve and spend moves within that hold; the session's
 * final figure settles all of it.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { BudgetExceeded } from "../PaymentError.ts"
import type { Evidence } from "../Rails.ts"
import {
  type Authorization,
  type Judgement,
  revise,
  type SessionRecord,
  type SessionState,
  type State
} from "./Model.ts"
import { isOpen, isProof, isStale, next, notSent, spentBy, type Step, withState } from "./Transition.ts"

type StateOfSession = typeof SessionState.Type

const isClosed = (state: StateOfSession): boolean => state === "closed" || state === "presumed"

/**
 * Reserves a draw within its session.
 *
 * @category sessions
 * @since 0.1.0
 */
export const reserve = (
  session: SessionRecord,
  drawUsd: bigint
): Result.Result<SessionRecord, string | BudgetExceeded> => {
  const { limitUsd: limit, reservedUsd: exposed, spentUsd: spent, state } = session
  if (state !== "live") return Result.fail(`the session is ${state}, and only a live one is drawn on`)
  return spent + exposed + drawUsd <= limit
    ? Result.succeed(revise(session, { reservedUsd: exposed + drawUsd }))
    : Result.fail(new BudgetExceeded({ scope: "session", limit, spent, exposed, requested: drawUsd }))
}

const reservedBy = (draw: Authorization): bigint => isOpen(draw.state) ? draw.drawUsd : 0n

/**
 * A draw, its session and the authorisation that holds the session's limit.
 *
 * @category models
 * @since 0.1.0
 */
export interface Drawn {
  readonly draw: Authorization
  readonly session: SessionRecord
  readonly holder: Authorization
}

/**
 * What a session spends moves within its open hold, and beyond it only if more was taken than was ever authorised. A
 * session is closed exactly when its hold is no longer open.
 */
const withSpending = (holder: Authorization, spentUsd: bigint, now: number): Authorization =>
  revise(holder, {
    spentUsd,
    exposedUsd: holder.holdUsd > spentUsd ? holder.holdUsd - spentUsd : 0n,
    updatedAt: now
  })

/**
 * Judges a draw. Its money is its session's: what a claim says was spent is at most what was drawn, or it would hide what
 * another draw has taken from the final figure. The money of a closed session is settled by its final figure: a draw that is judged later moves none, and is not open again.
 *
 * @category transitions
 * @since 0.1.0
 */
export const judgeDraw = ({ draw, holder, session }: Drawn, judgement: Judgement, now: number): Step<Drawn> =>
  Result.map(next(draw, judgement), (state) => {
    const isFinal = isClosed(session.state)
    if (isStale(draw, state, judgement) || (isFinal && isOpen(state))) return { draw, session, holder }
    const figure = judgement.spentUsd ?? draw.drawUsd
    const spentUsd = state === "presumed"
      ? draw.drawUsd
      : state !== "settled"
      ? 0n
      : isProof(judgement.evidence) || figure <= draw.drawUsd
      ? figure
      : draw.drawUsd
    const judged = withState(draw, state, spentUsd, judgement.evidence, now)
    if (isFinal) return { draw: judged, session, holder }
    const total = session.spentUsd - draw.spentUsd + spentUsd
    const reservedUsd = session.reservedUsd - reservedBy(draw) + reservedBy(judged)
    return {
      draw: judged,
      session: revise(session, { spentUsd: total, reservedUsd }),
      holder: total === session.spentUsd ? holder : withSpending(holder, total, now)
    }
  })

/** From where an ordinary change may go; `closed` and `presumed` are reached by the final figure. */
const sessionMoves: { readonly [K in StateOfSession]: ReadonlyArray<StateOfSession> } = {
  establishing: ["establishing", "live", "expired", "suspect", "closing"],
  live: ["live", "parked", "expired", "suspect", "closing"],
  parked: ["live", "parked", "expired", "suspect", "closing"],
  expired: ["expired", "suspect", "closing"],
  suspect: ["suspect", "expired", "closing"],
  closing: ["closing", "expired", "suspect"],
  closed: [],
  presumed: []
}

/**
 * Changes a session. A closed one stays as it is; a limit that was granted beyond what was held is held from now on, since
 * it can be taken.
 *
 * @category sessions
 * @since 0.1.0
 */
export const changeSession = (
  session: SessionRecord,
  holder: Authorization,
  change: Partial<Pick<SessionRecord, "handle" | "state" | "expiresAt" | "limitUsd">>,
  now: number
): Step<Pick<Drawn, "session" | "holder">> => {
  const { state = session.state } = change
  if (isClosed(session.state) && state !== "live" && state !== "establishing") {
    return Result.succeed({ session, holder })
  }
  if (!sessionMoves[session.state].includes(state)) {
    return Result.fail(
      `a session that is ${session.state} cannot become ${state}${isClosed(state) ? " without a final figure" : ""}`
    )
  }
  const changed = revise(session, change)
  const beyond = changed.limitUsd > holder.holdUsd
  return Result.succeed({
    session: changed,
    holder: beyond
      ? withSpending(revise(holder, { holdUsd: changed.limitUsd }), changed.spentUsd, now)
      : holder
  })
}

/**
 * The process that kept a session is gone, and with it what the session was drawn on with, unless that is the wallet's.
 *
 * @category sessions
 * @since 0.1.0
 */
export const orphan = (session: SessionRecord): SessionRecord =>
  session.state === "live" || session.state === "establishing"
    ? revise(session, { state: session.state === "live" && session.handle?.resumable === true ? "parked" : "closing" })
    : session

/**
 * What is known of draws of open outcome once their session's final figure is: nothing beyond the settled ones was taken,
 * so they are void; or all of them; or some, and nobody knows which, so that none may be called void.
 */
const resolve = (
  session: SessionRecord,
  draws: ReadonlyArray<Authorization>,
  close: Close,
  now: number
): ReadonlyArray<Authorization> => {
  const beyond = close.spentUsd - session.spentUsd
  const [state, spentOf]: readonly [State, (draw: Authorization) => bigint] = close.state === "presumed"
    ? ["presumed", (draw) => draw.drawUsd]
    : beyond <= 0n
    ? ["released", () => 0n]
    : draws.length === 1
    ? ["settled", () => beyond]
    : beyond >= session.reservedUsd
    ? ["settled", (draw) => draw.drawUsd]
    : ["presumed", (draw) => draw.drawUsd]
  return draws.map((draw) => withState(draw, state, spentOf(draw), close.evidence, now))
}

/**
 * The last word on a session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Close {
  readonly spentUsd: bigint
  /** What the payer paid for transactions. Absent: nothing. */
  readonly feeUsd?: bigint
  readonly state: "closed" | "presumed"
  readonly evidence: Evidence
}

/**
 * A session and all that hangs on it, closed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Closed extends Pick<Drawn, "session" | "holder"> {
  readonly draws: ReadonlyArray<Authorization>
}

/**
 * Closes a session by its final figure. A figure that is only presumed covers at least what may have been drawn, and gives
 * way to one that is proven.
 *
 * @category sessions
 * @since 0.1.0
 */
export const closeSession = (
  session: SessionRecord,
  holder: Authorization,
  draws: ReadonlyArray<Authorization>,
  close: Close,
  now: number
): Step<Closed> => {
  if (close.state === "closed" && !isProof(close.evidence)) {
    return Result.fail(`evidence that is ${close.evidence.rank} closes no session: only proof returns a hold`)
  }
  if (close.spentUsd < 0n) return Result.fail("a final figure is negative")
  if (session.state === "closed" && close.state === "presumed") return Result.succeed({ session, holder, draws: [] })
  const drawn = session.spentUsd + session.reservedUsd
  const spentUsd = close.state === "presumed" && close.spentUsd < drawn ? drawn : close.spentUsd
  if (holder.state === "released" && spentUsd > 0n) {
    return Result.fail("the session's limit is proven void, and nothing can have been spent of it")
  }
  const state = holder.state === "released" ? "released" : close.state === "closed" ? "settled" : "presumed"
  return Result.succeed({
    session: revise(session, { state: close.state, spentUsd, reservedUsd: 0n }),
    holder: withState(holder, state, spentUsd + (close.feeUsd ?? 0n), close.evidence, now),
    draws: resolve(session, draws, { ...close, spentUsd }, now)
  })
}

/**
 * Judges the authorisation that holds a session's limit. Any outcome of it is the session's final figure.
 *
 * @category transitions
 * @since 0.1.0
 */
export const judgeOpen = (
  session: SessionRecord,
  holder: Authorization,
  draws: ReadonlyArray<Authorization>,
  judgement: Judgement,
  now: number
): Step<Closed> =>
  Result.flatMap(next(holder, judgement), (state): Step<Closed> => {
    const unchanged = { session, holder, draws: [] }
    if (isStale(holder, state, judgement)) return Result.succeed(unchanged)
    const { evidence } = judgement
    switch (state) {
      case "settled":
      case "presumed": {
        const figure = spentBy(holder, state, judgement)
        const final = state === "settled" && isProof(evidence)
        return closeSession(session, holder, draws, {
          spentUsd: figure,
          state: final ? "closed" : "presumed",
          evidence
        }, now)
      }
      case "released": {
        if (evidence.what === notSent && session.state !== "establishing") {
          return Result.fail(`a session that is ${session.state} was opened`)
        }
        return Result.succeed({
          session: revise(session, { state: "closed", spentUsd: 0n, reservedUsd: 0n }),
          holder: withState(holder, state, 0n, evidence, now),
          draws: draws.map((draw) => withState(draw, state, 0n, evidence, now))
        })
      }
      default:
        return Result.succeed({
          ...unchanged,
          holder: withSpending(withState(holder, state, 0n, evidence, now), session.spentUsd, now)
        })
    }
  })
