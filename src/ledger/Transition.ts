/**
 * Which step is legal, and what it does to the money. Pure: every store of a ledger applies these rules inside its own
 * atomic step.
 *
 * The money of an authorisation follows from its state: while its outcome is open all of the hold is exposed; settled, what
 * moved is spent; presumed, all of it; released, nothing. A session's limit is held by one authorisation, and what its
 * draws spend moves within that hold.
 *
 * A step answers the record as it was if there is nothing to write, and text in our own words if it is illegal.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { Evidence } from "../Rails.ts"
import {
  type Authorization,
  type Broadcast,
  type Delivery,
  type Judgement,
  revise,
  type SessionRecord,
  type State
} from "./Model.ts"

/**
 * The outcome of a step: the new record, or why the step is illegal.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<A> = Result.Result<A, string>

/** As much evidence is kept of one authorisation; the last of it is what its state rests on. */
const maxEvidence = 16

// ---------------------------------------------------------------------------------------------------------------------
// Evidence
// ---------------------------------------------------------------------------------------------------------------------

const strength: { readonly [K in Evidence["rank"]]: number } = {
  presumed: 0,
  claimed: 1,
  observed: 2,
  attested: 3,
  proven: 3
}

/**
 * Whether evidence is proof: the only kind that returns a hold, or lowers what is counted as spent.
 *
 * @category guards
 * @since 0.1.0
 */
export const isProof = (evidence: Evidence): boolean => strength[evidence.rank] === strength.proven

/**
 * What the evidence of an owner says who knows that nothing has left the process.
 *
 * @category constants
 * @since 0.1.0
 */
export const notSent = "not sent"

/**
 * Whether money is counted as spent on a word, or on time alone, where the chain could say for certain.
 *
 * @category evidence
 * @since 0.1.0
 */
export const isUnproven = ({ evidence, plan, state }: Authorization): boolean =>
  plan.kind === "charge" && (state === "settled" || state === "presumed") && !evidence.some(isProof)

const isWeaker = (evidence: Evidence, than: Evidence | undefined): boolean =>
  than !== undefined && strength[evidence.rank] < strength[than.rank]

// ---------------------------------------------------------------------------------------------------------------------
// Authorisations
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Whether money may still move.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOpen = (state: State): boolean => state === "signed" || state === "unknown" || state === "rejected"

/**
 * Whether a judgement tells what became of the money.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFinal = (state: State): boolean => state === "settled" || state === "presumed" || state === "released"

/** Whoever works on what can be spent no more has this long to say what became of it. */
const graceMillis = 60_000

/**
 * Whether an end is so long past that no owner is waited for any more: he may hang for ever.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOverdue = (until: number | undefined, now: number): boolean =>
  until !== undefined && now >= until + graceMillis

/**
 * Whether somebody is at work on an authorisation: the owner of an open purchase, and a live session on what holds its
 * limit; neither of them once its time is over.
 *
 * @category guards
 * @since 0.1.0
 */
export const hasOwner = ({ plan, state }: Authorization, { delivery, keeper, now }: {
  readonly keeper: SessionRecord | undefined
  readonly delivery: Delivery | undefined
  readonly now: number
}): boolean => {
  if (plan.kind === "open") {
    return state === "signed" && (keeper?.state === "establishing" || keeper?.state === "live") &&
      !isOverdue(keeper.expiresAt, now)
  }
  if (plan.kind === "charge" && state === "signed" && isOverdue(plan.spendableUntil, now)) return false
  return delivery === "open" || (state === "signed" && delivery === "delivering")
}

/**
 * Micro-dollars that an authorisation can still take, or has taken. Only proof makes it less than what was authorised.
 *
 * @category getters
 * @since 0.1.0
 */
export const takable = ({ drawUsd, evidence, holdUsd, spentUsd, state }: Authorization): bigint => {
  if (state === "released") return spentUsd
  const authorized = holdUsd + drawUsd
  const basis = evidence.at(-1)
  const isProven = state === "settled" && basis !== undefined && isProof(basis)
  return isProven || spentUsd > authorized ? spentUsd : authorized
}

/**
 * The state that a judgement leads to; the same state where it says nothing new. A judgement that is weaker than what is
 * known changes nothing, unless it claims what would contradict it: that is illegal.
 *
 * | from | to |
 * |---|---|
 * | `signed` | `settled`, `rejected`, `unknown`; `released` by proof, or if nothing was ever sent |
 * | `unknown`, `rejected` | `settled`, `presumed`; `released` by proof |
 * | `presumed` | `settled`; `released` by proof |
 * | `settled` | `unknown`, if a chain says that its block is gone and it was not proven |
 *
 * @category transitions
 * @since 0.1.0
 */
export const next = (authorization: Authorization, judgement: Judgement): Step<State> => {
  const { evidence: known, state } = authorization
  const { evidence } = judgement
  const basis = known.at(-1)
  const illegal = Result.fail(`an authorisation that is ${state} cannot become ${judgement.state}`)
  const unproven = (why: string) => Result.fail(`evidence that is ${evidence.rank} releases no hold: ${why}`)
  switch (judgement.state) {
    case "unknown": {
      const blockIsGone = state === "settled" && (evidence.rank === "observed" || evidence.rank === "proven") &&
        basis !== undefined && !isProof(basis) && !isWeaker(evidence, basis)
      return Result.succeed(state === "signed" || blockIsGone ? "unknown" : state)
    }
    case "rejected":
      return Result.succeed(state === "signed" ? "rejected" : state)
    case "settled":
      return state === "released" ? illegal : Result.succeed("settled")
    case "presumed":
      return state === "signed" || state === "settled" || state === "released" ? illegal : Result.succeed("presumed")
    case "released": {
      if (state === "released") return Result.succeed(state)
      if (state === "settled") return illegal
      if (evidence.what === notSent) {
        // An authorisation that is sent again may have left the first time.
        return state === "signed" && known.length === 0
          ? Result.succeed("released")
          : unproven("it may have been sent before")
      }
      return isProof(evidence) ? Result.succeed("released") : unproven("only proof does")
    }
  }
}

/**
 * What is spent of a hold. A claim can commit all of it, and neither less nor more.
 *
 * @category transitions
 * @since 0.1.0
 */
export const spentBy = (authorization: Authorization, state: State, judgement: Judgement): bigint => {
  if (state === "presumed") return authorization.holdUsd
  // What never moved may have cost fees all the same.
  if (state === "released") return judgement.spentUsd ?? 0n
  if (state !== "settled") return 0n
  const figure = judgement.spentUsd ?? authorization.holdUsd
  if (isProof(judgement.evidence)) return figure
  return judgement.evidence.rank === "observed" && figure > authorization.holdUsd ? figure : authorization.holdUsd
}

const noted = (known: ReadonlyArray<Evidence>, evidence: Evidence): ReadonlyArray<Evidence> =>
  [...known, evidence].slice(-maxEvidence)

/**
 * The authorisation in a state, with the money that follows from it.
 *
 * @category transitions
 * @since 0.1.0
 */
export const withState = (
  authorization: Authorization,
  state: State,
  spentUsd: bigint,
  evidence: Evidence,
  now: number
): Authorization =>
  revise(authorization, {
    state,
    spentUsd,
    exposedUsd: isOpen(state) ? authorization.holdUsd : 0n,
    evidence: noted(authorization.evidence, evidence),
    updatedAt: now
  })

/**
 * Whether a judgement adds nothing to an authorisation that stays in its state.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStale = (authorization: Authorization, state: State, judgement: Judgement): boolean =>
  state === authorization.state &&
  (state !== judgement.state || isWeaker(judgement.evidence, authorization.evidence.at(-1)))

/**
 * Judges an authorisation that has a hold of its own and no session.
 *
 * @category transitions
 * @since 0.1.0
 */
export const judgeCharge = (authorization: Authorization, judgement: Judgement, now: number): Step<Authorization> =>
  Result.map(next(authorization, judgement), (state) =>
    isStale(authorization, state, judgement)
      ? authorization
      : withState(authorization, state, spentBy(authorization, state, judgement), judgement.evidence, now))

/**
 * An authorisation is about to be sent again.
 *
 * @category transitions
 * @since 0.1.0
 */
export const resend = (authorization: Authorization, now: number): Step<Authorization> =>
  authorization.state === "unknown" || authorization.state === "rejected"
    ? Result.succeed(revise(authorization, { state: "signed", updatedAt: now }))
    : Result.fail(`an authorisation that is ${authorization.state} cannot be sent again`)

/**
 * A transaction that its payer broadcasts has come further. What was mined stays mined, and another one may follow only
 * where the first was not. Its owner may know that it was not presented after all.
 *
 * @category transitions
 * @since 0.1.0
 */
export const advance = (authorization: Authorization, broadcast: Broadcast, now: number): Step<Authorization> => {
  const { broadcast: before, state } = authorization
  if (state === "released") return Result.fail("what is void is not broadcast")
  if (before !== undefined && before.step !== "broadcast") {
    if (before.transaction !== broadcast.transaction) return Result.fail("another transaction was mined")
    if (broadcast.step === "broadcast" || broadcast.step === before.step) return Result.succeed(authorization)
  }
  return Result.succeed(revise(authorization, { broadcast, updatedAt: now }))
}

/**
 * What hangs at a merchant in payments of open outcome. A session's limit hangs at its endpoint, and its draws within it.
 *
 * @category getters
 * @since 0.1.0
 */
export const hanging = ({ exposedUsd, plan, state }: Authorization): bigint =>
  plan.kind === "charge" && (state === "unknown" || state === "rejected") ? exposedUsd : 0n

/**
 * The owner of an authorisation is gone: whether it was sent is not known.
 *
 * @category transitions
 * @since 0.1.0
 */
export const orphan = (authorization: Authorization, now: number): Authorization =>
  authorization.state === "signed"
    ? withState(authorization, "unknown", 0n, new Evidence({ rank: "presumed", what: "its owner ended" }), now)
    : authorization
