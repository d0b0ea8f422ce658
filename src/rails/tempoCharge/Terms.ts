/**
 * The terms of a Tempo charge: what a challenge asks for, checked against our table and what the program allows.
 *
 * @since 0.1.0
 */
import type * as Array from "effect/Array"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Address, type Hex, zeroAddress } from "viem"
import type { Asset, AssetTable } from "../../Asset.ts"
import type { Offer } from "../../Offer.ts"
import type { Unaccepted } from "../../Rails.ts"
import * as Challenge from "../../wire/mpp/Challenge.ts"
import { realmFits } from "../../wire/mpp/SessionEndpoint.ts"
import * as TempoCharge from "../../wire/mpp/TempoCharge.ts"

/**
 * Which charges are paid, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The one chain to pay on, also where a challenge names none. By default a challenge has to name a chain, and any will do
   * whose dollars are in the asset table.
   */
  readonly chainId?: number | undefined
  /**
   * Who broadcasts the transaction: the merchant (`pull`), or the payer (`push`), who then presents its hash. By default the
   * payer does only where the merchant takes nothing else. A sponsored charge is never pushed.
   */
  readonly mode?: "pull" | "push" | undefined
  /** Whether charges whose fee the merchant pays are accepted. Default: true. */
  readonly sponsored?: boolean | undefined
  /** The token that fees are paid in, an address of the asset table. By default the one that is paid with. */
  readonly feeToken?: string | undefined
  /** Whether challenges that never expire are answered. Default: false. */
  readonly allowNoExpiry?: boolean | undefined
  /** A name by which merchants recognise this client in the memos of its transfers. By default they are anonymous. */
  readonly clientId?: string | undefined
  /**
   * Realms by origin, for servers whose realm is not their host. Where nothing is charged, an account is proved only to the
   * realm of the server that was asked.
   */
  readonly realms?: { readonly [origin: string]: string } | undefined
}

/**
 * What is to be paid, all of it checked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms {
  readonly challenge: Challenge.Challenge
  readonly asset: Asset
  readonly chainId: number
  /** `proof` where nothing is charged. */
  readonly mode: "pull" | "push" | "proof"
  readonly payee: Address
  readonly transfers: Array.NonEmptyReadonlyArray<TempoCharge.Transfer>
  /** Absent where the merchant pays the fee. */
  readonly feeToken: Asset | undefined
}

/**
 * The transfers that pay for a challenge. The first has a memo: the one that the merchant wants, or the one that names the
 * challenge.
 *
 * @category getters
 * @since 0.1.0
 */
export const transfersOf = (
  { id, realm }: Challenge.Challenge,
  request: TempoCharge.Request,
  clientId: string | undefined
): Array.NonEmptyReadonlyArray<TempoCharge.Transfer> => {
  const memo: Hex = request.methodDetails?.memo ?? TempoCharge.attribution({ realm, challengeId: id, clientId })
  return TempoCharge.transfers(request, memo)
}

/** Fees are counted in millionths of a dollar. */
const isFeeToken = ({ decimals, usd }: Asset) => usd && decimals === 6

const modeOf = (
  { amount, methodDetails = {} }: TempoCharge.Request,
  { mode, sponsored = true }: Options
): Result.Result<Terms["mode"], string> => {
  if (amount === 0n) return Result.succeed("proof")
  const { feePayer = false, supportedModes = ["pull", "push"] } = methodDetails
  if (feePayer && !sponsored) return Result.fail("charges whose fee the merchant pays are not accepted")
  if (feePayer && mode === "push") return Result.fail("whoever broadcasts a transaction pays its fee")
  const wanted = mode ?? (feePayer || supportedModes.includes("pull") ? "pull" : "push")
  return supportedModes.includes(wanted)
    ? Result.succeed(wanted)
    : Result.fail(
      wanted === "pull"
        ? "the merchant does not broadcast transactions"
        : "the merchant does not take the hash of a transaction"
    )
}

/**
 * Reads the terms of an offer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options, world: { readonly table: AssetTable; readonly payer: Address }) => {
  const { table } = world
  const payer = world.payer.toLowerCase()

  return (offer: Offer): Result.Result<Terms, Unaccepted> => {
    const refuse = (why: string, rule?: string) => Result.fail(rule === undefined ? { why } : { why, rule })
    if (offer.protocol !== "mpp" || offer.method !== "tempo" || offer.intent !== "charge") {
      return refuse("not a charge on Tempo")
    }
    const demanded = Challenge.fromOffer(offer)
    if (Option.isNone(demanded)) return refuse("the challenge cannot be read")
    const challenge = demanded.value
    const decoded = TempoCharge.fromChallenge(challenge)
    if (Result.isFailure(decoded)) return refuse(`the challenge cannot be answered: ${decoded.failure}`)
    const request = decoded.success

    const { amount, currency, methodDetails, recipient } = request
    const named = methodDetails?.chainId
    const parts = (methodDetails?.splits ?? []).map((split) => split.recipient)
    const isTheOffer = amount === offer.units && currency === offer.asset.toLowerCase() &&
      recipient === offer.payee.toLowerCase() && offer.network === (named === undefined ? "" : `eip155:${named}`) &&
      parts.join() === (offer.alsoPays ?? []).join().toLowerCase()
    if (!isTheOffer) return refuse("the challenge is not the one that the offer was made of")
    const chainId = named ?? options.chainId
    if (chainId === undefined) return refuse("the challenge does not name a chain")
    if (options.chainId !== undefined && options.chainId !== chainId) {
      return refuse("the chain is not the one that this rail pays on", "network")
    }
    const network = `eip155:${chainId}`
    const found = table.find(network, currency)
    if (Option.isNone(found)) return refuse("the token is not in our table")
    if (challenge.expires === undefined && options.allowNoExpiry !== true) return refuse("the challenge never expires")

    const mode = modeOf(request, options)
    if (Result.isFailure(mode)) return refuse(mode.failure)
    const transfers = transfersOf(challenge, request, options.clientId)
    if (transfers.some(({ to }) => to === payer || to === zeroAddress || to === currency)) {
      return refuse("it pays the payer, the zero address or the token")
    }
    const paysFee = mode.success !== "proof" && methodDetails?.feePayer !== true
    const feeToken = table.find(network, options.feeToken ?? currency)
    if (paysFee && !Option.exists(feeToken, isFeeToken)) {
      return refuse("the token for fees is not one of the dollars of six decimals in our table")
    }
    return Result.succeed({
      challenge,
      asset: found.value,
      chainId,
      mode: mode.success,
      payee: recipient,
      transfers,
      feeToken: paysFee ? Option.getOrUndefined(feeToken) : undefined
    })
  }
}

/**
 * Why these terms are not for this origin: a proof of an account would be one to whoever is named in it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const misplaced = (
  { challenge, mode }: Terms,
  origin: string,
  realms: Options["realms"]
): Option.Option<Required<Unaccepted>> =>
  mode !== "proof" || realmFits(challenge.realm, origin, realms?.[origin])
    ? Option.none()
    : Option.some({
      why: "the account would be proved to another realm than the server that was asked",
      rule: "realm-mismatch"
    })
