/**
 * The terms of a session on Tempo: what a challenge asks for, checked against our table and what the program allows.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Address, zeroAddress } from "viem"
import type { Asset, AssetTable } from "../../Asset.ts"
import type { Offer } from "../../Offer.ts"
import type { Unaccepted } from "../../Rails.ts"
import * as Challenge from "../../wire/mpp/Challenge.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as TempoSession from "../../wire/mpp/TempoSession.ts"
import type { Named } from "./Plan.ts"

/**
 * Which sessions are opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The one chain to pay on. By default any will do whose dollars are in the asset table. */
  readonly chainId?: number | undefined
  /** Whether channels whose opening the merchant pays for are accepted. Default: true. */
  readonly sponsored?: boolean | undefined
  /** The token that fees are paid in, an address of the asset table. By default the one that is paid with. */
  readonly feeToken?: string | undefined
  /** Who may settle for a payee, besides the payee itself: addresses that a challenge may name. Default: nobody. */
  readonly operators?: ReadonlyArray<string> | undefined
  /** Whether challenges that never expire are answered. Default: false. */
  readonly allowNoExpiry?: boolean | undefined
}

/**
 * What is to be paid, all of it checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms extends Channel.Place {
  readonly challenge: Challenge.Challenge
  readonly asset: Asset
  /** The address of the asset, in lower case. */
  readonly token: Address
  /** Base units of one request. */
  readonly price: bigint
  readonly payee: Address
  readonly operator: Address
  /** What the merchant would like to see in the channel. */
  readonly suggestedDeposit: bigint | undefined
  /** By how much a voucher has to be above the one before. */
  readonly minDelta: bigint
  /** Absent where the merchant pays the fee. */
  readonly feeToken: Asset | undefined
}

/**
 * Whether terms can be met out of a channel.
 *
 * @category predicates
 * @since 0.1.0
 */
export const areOf = ({ chainId, escrow, payee, token }: Terms, channel: Named): boolean =>
  chainId === channel.chainId && escrow === channel.escrow && payee === channel.descriptor.payee &&
  token === channel.descriptor.token

/** A channel's books are kept in millionths of a dollar. */
const isDollar = ({ decimals, usd }: Asset) => usd && decimals === 6

/**
 * Reads the terms of an offer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options, world: { readonly table: AssetTable; readonly payer: Address }) => {
  const { table } = world
  const payer = world.payer.toLowerCase()
  const operators = new Set((options.operators ?? []).map((address) => address.toLowerCase()))

  return (offer: Offer): Result.Result<Terms, Unaccepted> => {
    const refuse = (why: string, rule?: string) => Result.fail(rule === undefined ? { why } : { why, rule })
    if (offer.protocol !== "mpp" || offer.method !== "tempo" || offer.intent !== "session") {
      return refuse("not a session on Tempo")
    }
    const demanded = Challenge.fromOffer(offer)
    if (Option.isNone(demanded)) return refuse("the challenge cannot be read")
    const challenge = demanded.value
    const decoded = TempoSession.fromChallenge(challenge)
    if (Result.isFailure(decoded)) return refuse(`the challenge cannot be answered: ${decoded.failure}`)
    const { amount, currency, methodDetails, recipient, suggestedDeposit } = decoded.success
    if (methodDetails.sessionProtocol !== "v2") return refuse("channels of version 1 are not opened")
    const { chainId, escrowContract: escrow, feePayer = false, minVoucherDelta = 0n, operator = zeroAddress } =
      methodDetails
    const network = `eip155:${chainId}`
    const isTheOffer = amount === offer.units && currency === offer.asset.toLowerCase() &&
      recipient === offer.payee.toLowerCase() && offer.network === network
    if (!isTheOffer) return refuse("the challenge is not the one that the offer was made of")
    if (options.chainId !== undefined && options.chainId !== chainId) {
      return refuse("the chain is not the one that this rail pays on", "network")
    }
    if (escrow !== Channel.escrowV2) {
      return refuse("the deposit would go to another contract than the reserve of the chain", "escrow")
    }
    if (operator !== zeroAddress && !operators.has(operator)) {
      return refuse("somebody who is not allowed to could settle the channel", "operator")
    }
    const found = table.find(network, currency)
    if (!Option.exists(found, isDollar)) return refuse("the token is none of the dollars of six decimals in our table")
    if (challenge.expires === undefined && options.allowNoExpiry !== true) return refuse("the challenge never expires")
    if (recipient === payer || recipient === zeroAddress || recipient === currency) {
      return refuse("it pays the payer, the zero address or the token")
    }
    if (minVoucherDelta > amount) return refuse("a voucher would have to be raised by more than one request costs")
    if (feePayer && options.sponsored === false) {
      return refuse("channels whose opening the merchant pays for are not accepted")
    }
    const feeToken = table.find(network, options.feeToken ?? currency)
    if (!Option.exists(feeToken, isDollar)) {
      return refuse("the token for fees is not one of the dollars of six decimals in our table")
    }
    return Result.succeed({
      challenge,
      asset: Option.getOrThrow(found),
      token: currency,
      chainId,
      escrow,
      price: amount,
      payee: recipient,
      operator,
      suggestedDeposit,
      minDelta: minVoucherDelta,
      feeToken: feePayer ? undefined : Option.getOrUndefined(feeToken)
    })
  }
}
