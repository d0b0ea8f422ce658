/**
 * Sells by charges of the method `evm`: a payer signs an EIP-3009 authorisation whose nonce is the digest of its challenge,
 * and a facilitator of x402 settles it.
 *
 * The facilitator is the one that x402 is sold by, and an authorisation that was presented in one of the two ways cannot be
 * presented in the other.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Address } from "viem"
import { isAddress, isAddressEqual, recoverTypedDataAddress } from "viem/utils"
import type { Asset } from "../Asset.ts"
import { cleanText } from "../Offer.ts"
import * as Json from "../wire/Json.ts"
import * as EvmCharge from "../wire/mpp/EvmCharge.ts"
import * as Source from "../wire/mpp/Source.ts"
import * as ExactEvm from "../wire/x402/ExactEvm.ts"
import type * as V2 from "../wire/x402/V2.ts"
import * as ChargeWay from "./ChargeWay.ts"
import { Facilitator, type FacilitatorUnavailable, type Submission, submissionV2 } from "./Facilitator.ts"
import * as Settling from "./Settling.ts"
import { type Sale, unitsOf, type Way } from "./Way.ts"
import type { Accepted } from "./X402Way.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends ChargeWay.Options {
  /** The currencies that are taken, and where they are paid to. An asset needs an EIP-712 domain. */
  readonly accepts: ReadonlyArray<Accepted>
}

const check = ({ accepts }: Options) => {
  const wrong = accepts.find(({ payTo }) => !isAddress(payTo, { strict: false }))
  if (wrong !== undefined) throw new RangeError(`Expected an address to pay to, got "${wrong.payTo}"`)
  const unfit = accepts.find(({ asset }) => asset.chainId === undefined || asset.domain === undefined)
  if (unfit !== undefined) {
    throw new RangeError(`Expected an asset of an EVM chain with an EIP-712 domain, got ${unfit.asset.symbol}`)
  }
}

const address = (text: string): Address => `0x${text.slice(2).toLowerCase()}`

const encodeRequest = Schema.encodeSync(EvmCharge.Request)

const requestOf = (sale: Sale, { asset, payTo }: Accepted): Schema.JsonObject => {
  const { methodDetails, ...request } = encodeRequest({
    amount: unitsOf(asset, sale.priceUsd),
    currency: address(asset.address),
    recipient: address(payTo),
    ...(sale.externalId === undefined ? {} : { externalId: sale.externalId }),
    methodDetails: { chainId: asset.chainId!, credentialTypes: EvmCharge.credentialTypes }
  })
  return { ...request, methodDetails: { ...methodDetails, decimals: asset.decimals } }
}

const types = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" }
  ]
} as const

const refused = (detail: string) => ChargeWay.refuse("verification-failed", detail)

const decodePayload = Json.decoder(EvmCharge.Payload)

/** Whether the owner of the account has signed it. An account that is a contract has no signature of its own. */
const isSigned = (asset: Asset, { signature, ...message }: EvmCharge.Payload): Effect.Effect<boolean> =>
  Effect.tryPromise(() =>
    recoverTypedDataAddress({
      domain: { ...asset.domain, chainId: asset.chainId, verifyingContract: address(asset.address) },
      types,
      primaryType: "TransferWithAuthorization",
      message,
      signature
    })
  ).pipe(
    Effect.map((signer) => isAddressEqual(signer, message.from)),
    Effect.orElseSucceed(() => false)
  )

const failed = (detail: string) => new ChargeWay.Unsettled({ outcome: "failed", detail })

const makeMethod = Effect.fnUntraced(function*(options: Options) {
  const facilitator = yield* Facilitator
  const maxTimeoutSeconds = Math.ceil(Duration.toSeconds(options.lifetime ?? "5 minutes"))

  const submissionOf = ({ asset, payTo }: Accepted, signed: EvmCharge.Payload) => {
    const { signature, type: _, ...authorization } = signed
    const requirement: V2.Requirement = {
      scheme: "exact",
      network: asset.network,
      amount: authorization.value,
      asset: asset.address,
      payTo,
      maxTimeoutSeconds,
      extra: { ...asset.domain }
    }
    const accepted = { ...requirement, amount: requirement.amount.toString() }
    const payload = ExactEvm.encode({ signature, authorization })
    return submissionV2({ x402Version: 2, accepted, payload }, requirement)
  }

  const settle = Effect.fnUntraced(function*(
    submission: Submission,
    payload: EvmCharge.Payload,
    found: "fresh" | "owed"
  ): Effect.fn.Return<string, ChargeWay.Unsettled> {
    const unavailable = ({ message }: FacilitatorUnavailable) =>
      new ChargeWay.Unsettled({ outcome: found === "owed" ? "unknown" : "unavailable", detail: message })
    if (found === "fresh") {
      const seconds = BigInt(Math.floor((yield* Clock.currentTimeMillis) / 1000))
      if (payload.validAfter > seconds) return yield* failed("the authorization is not valid yet")
      if (payload.validBefore <= seconds) return yield* failed("the authorization has expired")
      const { invalidReason, isValid } = yield* Effect.mapError(facilitator.verify(submission), unavailable)
      if (!isValid) return yield* failed(cleanText(invalidReason ?? "unexpected_verify_error"))
    }
    const settlement = yield* Settling.settle(facilitator, submission).pipe(Effect.catchTags({
      FacilitatorUnavailable: (error) => Effect.fail(unavailable(error)),
      SettlementUnknown: () =>
        Effect.fail(new ChargeWay.Unsettled({ outcome: "unknown", detail: "the facilitator does not say" }))
    }))
    if (settlement.success) return settlement.transaction
    if (Settling.isPending(settlement)) {
      return yield* new ChargeWay.Unsettled({ outcome: "unknown", detail: "its transaction is under way" })
    }
    const reason = cleanText(settlement.errorReason ?? "unexpected_settle_error")
    // What was settled before does not settle again with every facilitator.
    return yield* new ChargeWay.Unsettled({ outcome: found === "owed" ? "unknown" : "failed", detail: reason })
  })

  const method: ChargeWay.Method = {
    name: "evm",
    sells: ({ priceUsd }) => priceUsd > 0n && options.accepts.length > 0,
    requests: (sale) => options.accepts.map((accepted) => requestOf(sale, accepted)),
    verify: Effect.fnUntraced(function*({ challenge, payload, source }) {
      const request = Result.getOrUndefined(EvmCharge.fromChallenge(challenge))
      const decoded = Result.getOrUndefined(decodePayload(payload))
      if (decoded === undefined) {
        return yield* ChargeWay.refuse("malformed-credential", "The credential's payload cannot be read")
      }
      const accepted = options.accepts.find(({ asset, payTo }) =>
        request !== undefined && asset.chainId === request.methodDetails.chainId &&
        address(asset.address) === request.currency && address(payTo) === request.recipient
      )
      if (request === undefined || accepted === undefined) {
        return yield* ChargeWay.refuse("invalid-challenge", "The challenge asks for a currency that is not taken")
      }
      const { chainId, network, address: asset } = accepted.asset
      const { from, nonce, to, value } = decoded
      if (to !== request.recipient) return yield* refused("The authorization pays somebody else")
      if (value !== request.amount) return yield* refused("The authorization is not for the amount that is asked for")
      if (nonce !== EvmCharge.nonce(challenge)) return yield* refused("The authorization is not bound to the challenge")
      const payer = Option.flatMap(Option.fromUndefinedOr(source), Source.parse)
      const isNamed = Option.exists(payer, (it) => it.address === from && it.chainId === chainId)
      if (source !== undefined && !isNamed) return yield* refused("The source is not the account that pays")
      if (!(yield* isSigned(accepted.asset, decoded))) {
        return yield* refused("The authorization is not signed by the account that pays")
      }
      const submission = submissionOf(accepted, decoded)
      return {
        source: Source.format(request.methodDetails.chainId, from),
        name: Settling.nameOf({ network, asset, from, nonce }),
        settle: (found) => settle(submission, decoded, found)
      }
    })
  }
  return method
})

/**
 * A way to sell by charges on EVM chains. Throws a `RangeError` at once if a secret is too short, an address is none, or an
 * asset takes no authorisations.
 *
 * **Gotchas**
 *
 * The money is taken before the handler runs. What a handler refuses then (a status of 400 and above) is owed: the payer can
 * present the same credential again. An account that is a contract cannot pay.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Way, never, Facilitator | SecureRandom.SecureRandom> => {
  check(options)
  return ChargeWay.make(options, makeMethod(options))
}
