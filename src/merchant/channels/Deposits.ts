/**
 * The transactions by which payers open channels and add to them, which the merchant sends: each is exactly one call of the
 * reserve, for the very channel that the credential names. This module loads `viem/tempo`, which takes a while.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Hex } from "viem"
import { Transaction } from "viem/tempo"
import { concatHex, decodeFunctionData, keccak256 } from "viem/utils"
import type * as Chain from "../../Chain.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as TempoTransaction from "../../wire/mpp/TempoTransaction.ts"
import { notSettled, refuse, Unsettled } from "../ChargeWay.ts"
import * as Confirmation from "../tempoCharges/Confirmation.ts"
import * as Sponsor from "../tempoCharges/Sponsor.ts"
import type { Refused } from "../Way.ts"

/**
 * A transaction that a payer hands over.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handed {
  readonly chainId: number
  readonly nodes: ReadonlyArray<Chain.Node>
  readonly descriptor: Channel.Descriptor
  readonly signed: Hex
  /** Seconds since the epoch. */
  readonly expires: number
  /** Who pays the fee where the payer does not; none where nobody offered to. */
  readonly feePayer: Sponsor.Options | undefined
  /** For how long to wait for a receipt. */
  readonly timeout: Duration.Duration
}

/** Clocks differ, and payers round. */
const leewaySeconds = 60

const refused = (what: string) => refuse("verification-failed", `The transaction ${what}`)

/** What payers sign, followed by who signs: the id of a channel depends on it. */
const nonceHashOf = (transaction: TempoTransaction.Decoded) =>
  Effect.tryPromise({
    try: () => {
      const { signature: _, ...unsigned } = transaction.serializable
      return Transaction.serialize(transaction.sponsored ? { ...unsigned, feePayerSignature: null } : unsigned)
    },
    catch: () => refused("cannot be written")
  }).pipe(Effect.map((unsigned) => keccak256(concatHex([unsigned, transaction.from]))))

/** What is the same for all of them: one call of the reserve, by the payer of the channel, for a short time. */
const read = Effect.fnUntraced(function*(
  { chainId, descriptor, expires, signed }: Handed
): Effect.fn.Return<{ readonly transaction: TempoTransaction.Decoded; readonly data: Hex }, Refused> {
  const decoded = TempoTransaction.decode(signed)
  if (Option.isNone(decoded)) return yield* refused("is no signed transaction of Tempo")
  const transaction = decoded.value
  const [call, ...others] = transaction.calls
  if (transaction.chainId !== chainId) return yield* refused("is for another chain")
  if (transaction.from !== descriptor.payer) return yield* refused("is not signed by the payer of the channel")
  if (transaction.validBefore === undefined || transaction.validBefore > expires + leewaySeconds) {
    return yield* refused("is valid for longer than its challenge")
  }
  if (call === undefined || others.length > 0 || call.value !== 0n || call.to !== Channel.escrowV2) {
    return yield* refused("is not exactly one call of the reserve of channels")
  }
  return { transaction, data: call.data }
})

const depositOf = Option.liftThrowable((data: Hex): bigint => {
  const { args, functionName } = decodeFunctionData({ abi: Channel.abi, data })
  return functionName === "open" ? args[3] : 0n
})

/** The transaction as it is sent, with our own signature where we pay for it. */
const complete = Effect.fnUntraced(function*(
  { descriptor, feePayer, signed }: Handed,
  transaction: TempoTransaction.Decoded
): Effect.fn.Return<Hex, Refused> {
  if (!transaction.sponsored) return Channel.lower(signed)
  if (feePayer === undefined) return yield* refused("awaits a fee payer, and none was offered")
  const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  const objection = Sponsor.excess(feePayer, transaction, now)
  if (Option.isSome(objection)) return yield* refused(`is not paid for: ${objection.value}`)
  return yield* Effect.mapError(
    Sponsor.sign(feePayer, transaction, descriptor.token),
    () => notSettled(new Unsettled({ outcome: "unavailable", detail: "the fee payer does not sign" }))
  )
})

const failed = (detail: string) => new Unsettled({ outcome: "failed", detail })

/** Keeps transactions from being sent that would be reverted: they cost a fee, and open nothing. */
const tryOut = Effect.fnUntraced(function*(
  { nodes }: Handed,
  { calls, feeToken, from }: TempoTransaction.Decoded,
  hash: Hex
): Effect.fn.Return<void, Unsettled> {
  for (const node of nodes) {
    const estimate = yield* Effect.result(node.estimateGas({
      type: "0x76",
      from,
      calls: calls.map(({ data, to = Channel.escrowV2 }) => ({ to, data, value: "0x0" })),
      ...(feeToken === undefined ? {} : { feeToken })
    }))
    if (Result.isSuccess(estimate)) return
    if (estimate.failure.code !== undefined) {
      // One that was sent before has left the account as it would be after it.
      return (yield* Confirmation.mayBeKnown(nodes, hash))
        ? undefined
        : yield* failed("its transaction would be reverted")
    }
  }
  return yield* new Unsettled({ outcome: "unavailable", detail: "no node answers" })
})

const broadcast = Effect.fnUntraced(function*(
  handed: Handed,
  transaction: TempoTransaction.Decoded
): Effect.fn.Return<Hex, Refused> {
  const { nodes, timeout } = handed
  const completed = yield* complete(handed, transaction)
  const hash = TempoTransaction.hash(completed)
  const send = Effect.gen(function*() {
    yield* tryOut(handed, transaction, hash)
    // Nodes that wait for the receipt themselves may take longer than we do.
    const sent = Option.flatten(yield* Effect.timeoutOption(Confirmation.send(nodes, completed), timeout))
    const validBefore = transaction.validBefore ?? 0
    const outcome = Option.isSome(sent) ? sent.value : yield* Confirmation.wait(nodes, { hash, validBefore }, timeout)
    if (outcome === "void") return yield* failed("its transaction has expired")
    if (outcome === "unknown") return yield* new Unsettled({ outcome, detail: "its transaction is not confirmed" })
    return outcome.succeeded ? hash : yield* failed("its transaction was reverted")
  })
  return yield* Effect.mapError(send, notSettled)
})

/**
 * A transaction that was judged, and is ready to be sent; the hash of what was mined.
 *
 * @category models
 * @since 0.1.0
 */
export type Send = Effect.Effect<Hex, Refused>

/**
 * Judges a transaction that opens a channel: what it pays in, and how to send it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const opening = Effect.fnUntraced(function*(
  handed: Handed
): Effect.fn.Return<{ readonly deposit: bigint; readonly send: Send }, Refused> {
  const { descriptor } = handed
  const { data, transaction } = yield* read(handed)
  const deposit = Option.getOrElse(depositOf(data), () => 0n)
  if (deposit === 0n || data.toLowerCase() !== Channel.openCall({ ...descriptor, deposit }).data) {
    return yield* refused("does not open the channel of the credential")
  }
  if (
    transaction.nonceKey !== TempoTransaction.expiringNonceKey ||
    (yield* nonceHashOf(transaction)) !== descriptor.expiringNonceHash
  ) {
    return yield* refused("opens another channel than that of the credential")
  }
  return { deposit, send: broadcast(handed, transaction) }
})

/**
 * Judges a transaction that adds to a channel, and says how to send it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const addition = Effect.fnUntraced(function*(
  handed: Handed,
  units: bigint
): Effect.fn.Return<Send, Refused> {
  const { data, transaction } = yield* read(handed)
  if (units === 0n || data.toLowerCase() !== Channel.topUpCall(handed.descriptor, units).data) {
    return yield* refused("does not add to the channel of the credential what the credential says")
  }
  return broadcast(handed, transaction)
})
