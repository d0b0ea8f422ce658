/**
 * Charges on Tempo that the merchant broadcasts: a payer hands over a signed transaction, the merchant checks it, pays its
 * fee where it has offered to, sends it, and waits for what it did. This module loads `viem/tempo`, which takes a while.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { Address, Hex } from "viem"
import type * as Chain from "../../Chain.ts"
import type { ChainError } from "../../PaymentError.ts"
import * as Source from "../../wire/mpp/Source.ts"
import * as TempoTransaction from "../../wire/mpp/TempoTransaction.ts"
import { notSettled, refuse, Unsettled, type Verified } from "../ChargeWay.ts"
import type { Refused } from "../Way.ts"
import * as Confirmation from "./Confirmation.ts"
import * as Sponsor from "./Sponsor.ts"
import * as Transfers from "./Transfers.ts"

/**
 * What a transaction has to pay, and where.
 *
 * @category models
 * @since 0.1.0
 */
export interface Charge {
  readonly chainId: number
  readonly network: string
  readonly nodes: ReadonlyArray<Chain.Node>
  readonly token: Address
  readonly wanted: Transfers.Wanted
  /** Whether the challenge offered to pay the fee. */
  readonly sponsored: boolean
  /** Seconds since the epoch. */
  readonly expires: number
  /** Who the credential says that pays. */
  readonly source: Option.Option<Source.Source>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly feePayer: Sponsor.Options | undefined
  /** For how long to wait for a receipt. */
  readonly timeout: Duration.Duration
}

/** Clocks differ, and payers round. */
const leewaySeconds = 60

const lowerCase = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`

const failed = (detail: string) => new Unsettled({ outcome: "failed", detail })

/**
 * Whether a receipt shows what is asked for.
 *
 * @category predicates
 * @since 0.1.0
 */
export const judge = (
  { token, wanted }: Pick<Charge, "token" | "wanted">,
  from: Address,
  { logs, succeeded, transactionHash }: Chain.Receipt
): Effect.Effect<Hex, Unsettled> => {
  if (!succeeded) return Effect.fail(failed("its transaction was reverted"))
  return Transfers.cover(wanted, Transfers.fromLogs(token, logs), from)
    ? Effect.succeed(transactionHash)
    : Effect.fail(failed("its transaction did not make the transfers that were asked for"))
}

/** The form in which nodes are asked what a transaction would do. */
const proposal = ({ calls, feeToken, from }: TempoTransaction.Decoded) => ({
  type: "0x76",
  from,
  calls: calls.map(({ data, to, value }) => ({
    ...(to === undefined ? {} : { to }),
    data,
    value: `0x${value.toString(16)}`
  })),
  ...(feeToken === undefined ? {} : { feeToken })
})

/** A node that answers with an error has looked at the transaction; one that does not answer has not. */
const isAnswer = ({ code }: ChainError) => code !== undefined

/**
 * A judge of transactions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ feePayer, timeout }: Options): {
  readonly verify: (charge: Charge, signed: Hex) => Effect.Effect<Verified, Refused>
} => {
  const inTurn = turns()

  /** The transaction as it is sent, with our own signature where we pay for it. */
  const complete = Effect.fnUntraced(function*(
    charge: Charge,
    signed: Hex,
    transaction: TempoTransaction.Decoded
  ): Effect.fn.Return<Hex, Refused> {
    if (!transaction.sponsored) return signed
    if (feePayer === undefined || !charge.sponsored) {
      return yield* refuse("verification-failed", "The transaction awaits a fee payer, and none was offered")
    }
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const objection = Sponsor.objection(feePayer, transaction, { ...charge, now })
    if (Option.isSome(objection)) {
      return yield* refuse("verification-failed", `The fee of the transaction is not paid: ${objection.value}`)
    }
    return yield* Effect.mapError(
      Sponsor.sign(feePayer, transaction, charge.token),
      () => notSettled(new Unsettled({ outcome: "unavailable", detail: "the fee payer does not sign" }))
    )
  })

  /** Keeps transactions from being sent that would be reverted: they cost a fee and pay nothing. */
  const tryOut = Effect.fnUntraced(function*(
    { nodes }: Charge,
    transaction: TempoTransaction.Decoded,
    hash: Hex
  ): Effect.fn.Return<void, Unsettled> {
    for (const node of nodes) {
      const estimate = yield* Effect.result(node.estimateGas(proposal(transaction)))
      if (Result.isSuccess(estimate)) return
      if (isAnswer(estimate.failure)) {
        // One that was sent before has left the account as it would be after it.
        if (yield* Confirmation.mayBeKnown(nodes, hash)) return
        return yield* failed("its transaction would be reverted")
      }
    }
    return yield* new Unsettled({ outcome: "unavailable", detail: "no node answers" })
  })

  const settle = Effect.fnUntraced(function*(
    charge: Charge,
    transaction: TempoTransaction.Decoded,
    awaited: Confirmation.Awaited,
    completed: Hex,
    found: "fresh" | "owed"
  ): Effect.fn.Return<string, Unsettled> {
    const judged = (receipt: Chain.Receipt) => judge(charge, transaction.from, receipt)
    const unanswered = () =>
      new Unsettled({ outcome: found === "owed" ? "unknown" : "unavailable", detail: "no node answers" })
    const earlier = yield* Effect.mapError(Confirmation.receipt(charge.nodes, awaited.hash), unanswered)
    if (Option.isSome(earlier)) return yield* judged(earlier.value)
    if (found === "fresh") {
      const now = yield* Clock.currentTimeMillis
      if (awaited.validBefore * 1000 <= now) return yield* failed("its transaction has expired")
      yield* tryOut(charge, transaction, awaited.hash)
    }
    // Nodes that wait for the receipt themselves may take longer than we do.
    const sent = Option.flatten(yield* Effect.timeoutOption(Confirmation.send(charge.nodes, completed), timeout))
    if (Option.isSome(sent)) return yield* judged(sent.value)
    const outcome = yield* Confirmation.wait(charge.nodes, awaited, timeout)
    switch (outcome) {
      case "void":
        return yield* failed("its transaction has expired")
      case "unknown":
        return yield* new Unsettled({ outcome, detail: "its transaction is not confirmed" })
      default:
        return yield* judged(outcome)
    }
  })

  return {
    verify: Effect.fnUntraced(function*(charge, signed) {
      const decoded = TempoTransaction.decode(signed)
      if (Option.isNone(decoded)) {
        return yield* refuse("verification-failed", "The transaction is no signed transaction of Tempo")
      }
      const transaction = decoded.value
      const { calls, chainId, from, validBefore } = transaction
      const refused = (what: string) => refuse("verification-failed", `The transaction ${what}`)
      if (chainId !== charge.chainId) return yield* refused("is for another chain")
      if (Option.exists(charge.source, ({ address }) => address !== from)) {
        return yield* refused("is not signed by the account that the credential names")
      }
      if (validBefore === undefined || validBefore > charge.expires + leewaySeconds) {
        return yield* refused("is valid for longer than its challenge")
      }
      const moved = calls.flatMap((call) => Option.toArray(Transfers.fromCall(charge.token, from, call)))
      if (!Transfers.cover(charge.wanted, moved, from)) {
        return yield* refused("does not make the transfers that are asked for, bound to the challenge")
      }
      const completed = yield* complete(charge, lowerCase(signed), transaction)
      const awaited = { hash: TempoTransaction.hash(completed), validBefore }
      return {
        source: Source.format(chainId, from),
        name: `${charge.network}/${awaited.hash}`,
        settle: (found) => {
          const settling = settle(charge, transaction, awaited, completed, found)
          return transaction.sponsored ? inTurn(turnOf(transaction), settling, busy(found)) : settling
        }
      }
    })
  }
}

/** Whose turn it is. An account that only its chain can tell from somebody who names it has no turn with one that signs. */
const turnOf = ({ from, signatureType }: TempoTransaction.Decoded) =>
  signatureType === "secp256k1" ? from : `${signatureType}/${from}`

const busy = (found: "fresh" | "owed") =>
  new Unsettled({ outcome: found === "owed" ? "unknown" : "unavailable", detail: "too many of its account wait" })

/** Nobody leaves the queue before its turn, whether or not the payer still waits. */
const maxWaiting = 16

/**
 * One after the other for each name. Of several transactions that empty one account only the first pays, and the others
 * would cost their fee payer something: what each of them would do is seen when the one before it is done.
 *
 * @category constructors
 * @since 0.1.0
 */
export const turns = () => {
  const waiting = new Map<string, { readonly semaphore: Semaphore.Semaphore; count: number }>()
  return <A, E, R>(name: string, effect: Effect.Effect<A, E, R>, busy: E): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const turn = waiting.get(name) ?? { semaphore: Semaphore.makeUnsafe(1), count: 0 }
      if (turn.count > maxWaiting) return Effect.fail(busy)
      waiting.set(name, turn)
      turn.count++
      return Effect.ensuring(
        turn.semaphore.withPermit(effect),
        Effect.sync(() => {
          if (--turn.count === 0) waiting.delete(name)
        })
      )
    })
}
