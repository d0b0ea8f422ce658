/**
 * The merchant as the payer of fees on Tempo: which transactions of others it pays the fee of, and how it signs them.
 *
 * A fee payer signs what somebody else has made, and pays for it also where it is reverted. So it signs nothing but the
 * transfers that are asked for, in their shortest form, for a time and a fee that are bounded. This module loads
 * `viem/tempo`, which takes a while.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address, Hex, LocalAccount } from "viem"
import { Transaction } from "viem/tempo"
import { parseUsd } from "../../Amount.ts"
import * as TempoTransaction from "../../wire/mpp/TempoTransaction.ts"
import * as Transfers from "./Transfers.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The account that pays the fees. It has to give the same signature each time that it signs the same, as viem's local
   * accounts do: a payment is known again by it.
   */
  readonly account: LocalAccount
  /** The token that fees are paid in (default: the one that is charged). */
  readonly feeToken?: Address | undefined
  /** The most gas of a transaction (default 2,000,000). */
  readonly maxGas?: bigint | undefined
  /** The highest price of a unit of gas, in units of 10^-18 US dollar (default 10^11). */
  readonly maxFeePerGas?: bigint | undefined
  /** The most that is offered beyond the base fee for a unit of gas, in the same units (default 10^10). */
  readonly maxPriorityFeePerGas?: bigint | undefined
  /** The most that a transaction can cost, in US dollars (default `"0.05"`). */
  readonly maxFee?: string | undefined
  /** For how long a transaction may be valid at most, in seconds (default 900). */
  readonly maxValiditySeconds?: number | undefined
}

/**
 * The fee payer's account does not sign.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotSigned extends Data.TaggedError("SponsorNotSigned")<{}> {}

const weiPerMicroDollar = 10n ** 12n

const maxFeeOf = ({ maxFee = "0.05" }: Options): bigint => Option.getOrElse(parseUsd(maxFee), () => 0n)

const isPlain = ({ accessList, authorizationList, feePayerSigned, keyAuthorization }: TempoTransaction.Decoded) =>
  !accessList && !authorizationList && !keyAuthorization && !feePayerSigned

/**
 * Why the fee of a transaction is not paid, whatever it does; none where that is no reason.
 *
 * @category predicates
 * @since 0.1.0
 */
export const excess = (
  options: Options,
  transaction: TempoTransaction.Decoded,
  /** Seconds since the epoch. */
  now: number
): Option.Option<string> => {
  const {
    maxFeePerGas = 10n ** 11n,
    maxGas = 2_000_000n,
    maxPriorityFeePerGas = 10n ** 10n,
    maxValiditySeconds = 900
  } = options
  const { validAfter = 0, validBefore } = transaction
  return firstOf([
    ["it does more than a payment", !isPlain(transaction)],
    ["its nonce does not expire", transaction.nonceKey !== TempoTransaction.expiringNonceKey],
    ["it is not valid yet", validAfter > now],
    ["it is valid for too long", validBefore === undefined || validBefore > now + maxValiditySeconds],
    ["its limit of gas is out of bounds", transaction.gas <= 0n || transaction.gas > maxGas],
    ["its price of gas is out of bounds", transaction.maxFeePerGas <= 0n || transaction.maxFeePerGas > maxFeePerGas],
    [
      "its priority fee is out of bounds",
      transaction.maxPriorityFeePerGas > transaction.maxFeePerGas ||
      transaction.maxPriorityFeePerGas > maxPriorityFeePerGas
    ],
    [
      "its fee is out of bounds",
      transaction.gas * transaction.maxFeePerGas > maxFeeOf(options) * weiPerMicroDollar
    ]
  ])
}

const firstOf = (fails: ReadonlyArray<readonly [why: string, fails: boolean]>): Option.Option<string> =>
  Option.map(Option.fromUndefinedOr(fails.find(([, fails]) => fails)), ([why]) => why)

/**
 * Why the fee of a charge's transaction is not paid; none where it is.
 *
 * @category predicates
 * @since 0.1.0
 */
export const objection = (
  options: Options,
  transaction: TempoTransaction.Decoded,
  charge: {
    readonly token: Address
    readonly wanted: Transfers.Wanted
    /** Seconds since the epoch. */
    readonly now: number
  }
): Option.Option<string> => {
  const { calls, from } = transaction
  const moved = calls.flatMap((call) => Option.toArray(Transfers.fromCall(charge.token, from, call)))
  const differs = firstOf([
    ["its calls are not exactly the transfers", calls.length !== charge.wanted.length || moved.length !== calls.length],
    ["its transfers are not those that are asked for", !Transfers.cover(charge.wanted, moved, from)]
  ])
  return Option.orElse(differs, () => excess(options, transaction, charge.now))
}

/**
 * The transaction with the fee payer's signature. `token` is the one that is charged.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sign = (
  { account, feeToken }: Options,
  { serializable }: TempoTransaction.Decoded,
  token: Address
): Effect.Effect<Hex, NotSigned> =>
  Effect.tryPromise({
    try: () => Transaction.serialize({ ...serializable, feePayer: account, feeToken: feeToken ?? token }),
    catch: () => new NotSigned()
  })
