/**
 * What is written down of a Tempo charge before anything is signed: the challenge that is answered, and the whole transaction.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Rails from "../../Rails.ts"
import { Challenge } from "../../wire/mpp/Challenge.ts"
import * as TempoCharge from "../../wire/mpp/TempoCharge.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import type { Signed } from "./Search.ts"
import { transfersOf } from "./Terms.ts"

/**
 * The complete unsigned payment.
 *
 * **Details**
 *
 * `pull` and `push` are transactions, that the merchant or the payer broadcasts. A `proof` moves nothing.
 *
 * @category models
 * @since 0.1.0
 */
export const Data = Schema.Union([
  Schema.Struct({
    mode: Schema.Literals(["pull", "push"]),
    challenge: Challenge,
    transaction: TempoUnsigned.Unsigned,
    /** The name in the memo, where the client has one. */
    clientId: Schema.optionalKey(Schema.String),
    /** Seconds since the epoch. */
    plannedAt: Schema.Natural
  }),
  Schema.Struct({
    mode: Schema.Literal("proof"),
    challenge: Challenge,
    chainId: Schema.Int.check(Schema.isGreaterThan(0))
  })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Data = typeof Data.Type

/**
 * A payment that was written down, with what is read from its challenge.
 *
 * @category models
 * @since 0.1.0
 */
export type Payment =
  | (Extract<Data, { readonly mode: "pull" | "push" }> & { readonly signed: Signed })
  | Extract<Data, { readonly mode: "proof" }>

const decodeData = Schema.decodeUnknownOption(Data)

/** Whether the transaction makes the transfers that the challenge asks for, and nothing else. */
const isConsistent = (token: Signed["token"], { transaction, transfers }: Signed): boolean => {
  const calls = TempoUnsigned.calls(token, transfers)
  return calls.length === transaction.calls.length &&
    calls.every(({ data, to }, at) => to === transaction.calls[at]?.to && data === transaction.calls[at]?.data)
}

/** Whether what is held, and looked for on a chain, is what the transaction takes there. */
const isHeld = (plan: Rails.Plan, { token, transaction, units }: Signed): boolean =>
  plan.units === units && (plan.feeUsd ?? 0n) === TempoUnsigned.maxFeeUsd(transaction) &&
  plan.network === `eip155:${transaction.chainId}` && plan.asset.toLowerCase() === token &&
  plan.payer.toLowerCase() === transaction.from && plan.spendableUntil === transaction.validBefore * 1000

/**
 * Reads what was written down; none where it is not of this rail, or contradicts itself.
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (plan: Rails.Plan): Option.Option<Payment> =>
  Option.flatMap(decodeData(plan.data), (decoded): Option.Option<Payment> => {
    const request = Result.getSuccess(TempoCharge.fromChallenge(decoded.challenge))
    if (decoded.mode === "proof") return Option.as(Option.filter(request, ({ amount }) => amount === 0n), decoded)
    return Option.flatMap(request, (request) => {
      const { challenge, clientId, plannedAt, transaction } = decoded
      const signed: Signed = {
        transaction,
        token: request.currency,
        transfers: transfersOf(challenge, request, clientId),
        units: request.amount,
        plannedAt
      }
      return isHeld(plan, signed) && isConsistent(request.currency, signed)
        ? Option.some({ ...decoded, signed })
        : Option.none()
    })
  })
