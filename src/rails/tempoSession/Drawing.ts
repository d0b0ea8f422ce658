/**
 * What is drawn from a channel: for each request one voucher, of which a second form is signed in case that the first is not
 * enough.
 *
 * @since 0.1.0
 */
import * as BigInt from "effect/BigInt"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Address } from "viem"
import { getAddress } from "viem/utils"
import type { Offer } from "../../Offer.ts"
import { WalletError } from "../../PaymentError.ts"
import * as Rails from "../../Rails.ts"
import { reconcile as askElsewhere, unknown } from "../Words.ts"
import * as Merchant from "./Merchant.ts"
import * as Plan from "./Plan.ts"
import * as Terms from "./Terms.ts"
import * as Verdict from "./Verdict.ts"
import type * as Vouchers from "./Vouchers.ts"

/**
 * What is said of a plan that another rail has made.
 *
 * @category constants
 * @since 0.1.0
 */
export const foreign = unknown("the plan is not one of this rail", askElsewhere)

/**
 * Makes the drawing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ name, payer, terms, vouchers }: {
  /** Of the rail. */
  readonly name: string
  readonly payer: Address
  readonly terms: ReturnType<typeof Terms.make>
  readonly vouchers: ReturnType<typeof Vouchers.make>
}) => {
  const decode = Function.memoize(({ data }: Rails.Plan) => Plan.decodeDraw(data))
  const read = (plan: Rails.Plan) => plan.kind === "draw" ? Option.getOrUndefined(decode(plan)) : undefined

  const plan: Rails.SessionOps["planDraw"] = (handle, offer, { reserved, spent }) => {
    const channel = Option.getOrUndefined(Plan.decodeHandle(handle.data))
    const found = Result.getOrUndefined(terms(offer))
    if (channel === undefined || found === undefined || !Terms.areOf(found, channel)) return unsignable(offer)
    const { chainId, channelId, descriptor, escrow } = channel
    const { challenge, price } = found
    const known = vouchers.recall(channel)
    const before = BigInt.max(spent, known?.spent ?? 0n)
    const enough = spent + reserved + price
    // Without memory of what was signed, no lower voucher is signed than may have been.
    const first = known?.signed === undefined
      ? BigInt.max(enough, channel.first)
      : BigInt.max(known.signed, before + price)
    const most = BigInt.max(first, enough)
    return new Rails.Plan({
      rail: name,
      kind: "draw",
      network: `eip155:${chainId}`,
      asset: getAddress(descriptor.token),
      units: price,
      cumulative: most,
      payer,
      payee: getAddress(descriptor.payee),
      data: Plan.encodeDraw({ chainId, escrow, descriptor, channelId, challenge, before, first, most })
    })
  }

  /** What is of another rail or another channel is not signed. */
  const unsignable = (offer: Offer) =>
    new Rails.Plan({
      rail: name,
      kind: "draw",
      network: offer.network,
      asset: offer.asset,
      units: offer.units,
      payer,
      payee: offer.payee,
      data: null
    })

  const sign: Rails.Rail["sign"] = Effect.fnUntraced(function*(plan) {
    const draw = read(plan)
    if (
      draw === undefined || vouchers.recall(draw) === undefined || plan.cumulative !== draw.most ||
      draw.first > draw.most
    ) {
      return yield* new WalletError({ operation: "sign a voucher", detail: "the plan is not one of this wallet's" })
    }
    const { chainId, challenge, channelId, descriptor, first, most } = draw
    const envelope = (cumulative: bigint) =>
      Effect.map(vouchers.sign(draw, cumulative), (signature) =>
        vouchers.present(challenge, chainId, {
          action: "voucher",
          channelId,
          descriptor,
          cumulativeAmount: cumulative.toString(),
          signature
        }))
    const low = yield* envelope(first)
    vouchers.remember(draw, first, 0n)
    return { envelopes: first === most ? [low] : [low, yield* envelope(most)] }
  })

  const judge: Rails.Rail["judge"] = (plan, answer, now) => {
    const draw = read(plan)
    if (draw === undefined) return foreign
    const signed = vouchers.recall(draw)?.signed ?? draw.most
    const receipt = Merchant.receiptOf(answer)
    if (Option.isSome(receipt) && Verdict.fits(draw, receipt.value, signed)) {
      vouchers.remember(draw, signed, receipt.value.spent)
    }
    const verdict = Verdict.judge(plan, draw, answer, now, signed)
    // The higher voucher leaves next, and may be all that is heard of it.
    if (verdict._tag === "Unknown" && verdict.next._tag === "envelope") vouchers.remember(draw, draw.most, 0n)
    return verdict
  }

  const represent: NonNullable<Rails.Rail["represent"]> = (plan, offer) => {
    const draw = read(plan)
    const found = Result.getOrUndefined(terms(offer))
    return draw !== undefined && found !== undefined && Terms.areOf(found, draw) && found.price <= plan.units
      ? Option.some(new Rails.Plan({ ...plan, data: Plan.encodeDraw({ ...draw, challenge: found.challenge }) }))
      : Option.none()
  }

  return { plan, sign, judge, represent }
}
