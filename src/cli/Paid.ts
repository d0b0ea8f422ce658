/**
 * What was paid for the request of this command, as the ledger has it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Amount from "../Amount.ts"
import * as Asset from "../Asset.ts"
import * as Demand from "../Demand.ts"
import * as Ledger from "../Ledger.ts"
import type * as Query from "../ledger/Query.ts"
import * as Offer from "../Offer.ts"
import * as Outcome from "../Outcome.ts"
import * as PaymentError from "../PaymentError.ts"
import type { JsonObject } from "./Output.ts"

/**
 * A purchase, and the authorisation that pays for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Paid {
  readonly purchase: Ledger.Purchase
  readonly authorization: Ledger.Authorization
  readonly asset: Option.Option<Asset.Asset>
}

/**
 * A purchase with the one of its authorisations that tells most of it: the last that was not proven void.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (table: typeof Asset.Table.Service, { authorizations, purchase }: Query.Paid): Option.Option<Paid> =>
  Option.map(
    Option.fromUndefinedOr(authorizations.findLast(({ state }) => state !== "released") ?? authorizations.at(-1)),
    (authorization) => ({
      purchase,
      authorization,
      asset: table.find(authorization.plan.network, authorization.plan.asset)
    })
  )

/**
 * The newest purchase of this process whose authorisation took money, or still may, and on which something was done since an
 * instant.
 *
 * @category constructors
 * @since 0.1.0
 */
export const since = Effect.fnUntraced(function*(instant: number) {
  const ledger = yield* Ledger.Ledger
  const table = yield* Asset.Table
  const found = (yield* ledger.purchases({ mine: true }))
    .flatMap((paid) => Option.toArray(of(table, paid)))
    .filter(({ authorization: { state, updatedAt } }) => state !== "released" && updatedAt >= instant)
    .toSorted((one, other) => one.authorization.createdAt - other.authorization.createdAt)
  return Option.fromUndefinedOr(found.at(-1))
})

/**
 * Whether the content was read to its end.
 *
 * @category getters
 * @since 0.1.0
 */
export const isDelivered = ({ purchase }: Paid): boolean => purchase.delivery === "delivered"

/** A receipt in its three words; what else is in it may identify the payer. */
const receiptOf = (
  { headers, status }: Pick<Demand.Answer, "headers" | "status">,
  now: number
): JsonObject | null =>
  Option.match(Demand.read({ status, headers, body: undefined }, now).receipt, {
    onNone: () => null,
    onSome: (receipt) => {
      switch (receipt.protocol) {
        case "mpp":
          return {
            reference: Offer.cleanText(receipt.reference),
            status: receipt.status,
            timestamp: Offer.cleanText(receipt.timestamp)
          }
        case "mpp/1.0":
          return { reference: Offer.cleanText(receipt.sessionId), status: "success", timestamp: null }
        case "x402":
          return {
            reference: Offer.cleanText(receipt.transaction),
            status: receipt.success ? "success" : "failure",
            timestamp: null
          }
      }
    }
  })

/**
 * What is paid, in the asset that it is paid in.
 *
 * @category formatting
 * @since 0.1.0
 */
export const decimal = ({ asset, authorization }: Paid): string =>
  Option.match(asset, {
    onNone: () => Amount.formatUsd(authorization.spentUsd),
    onSome: ({ decimals }) => Amount.format(authorization.plan.units, decimals)
  })

/**
 * What the payer pays for the payment itself, in US dollars: until a chain has said how much it was, the most that it can
 * be. None where somebody else pays it.
 */
const feeOf = ({ asset, authorization: { plan, spentUsd } }: Paid): Option.Option<string> =>
  Option.map(
    Option.filter(Option.fromUndefinedOr(plan.feeUsd), (most) => most > 0n),
    (most) => {
      const price = Option.match(asset, {
        onNone: () => spentUsd,
        onSome: (asset) => Amount.toUsd({ asset, units: plan.units })
      })
      return Amount.formatUsd(spentUsd > price ? spentUsd - price : most)
    }
  )

/**
 * The asset's name for people, or its address where it is not known.
 *
 * @category formatting
 * @since 0.1.0
 */
export const symbol = ({ asset, authorization }: Paid): string =>
  Option.match(asset, { onNone: () => authorization.plan.asset, onSome: (known) => known.symbol })

/**
 * The payment as a document, with the receipt of the answer.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toJson = Effect.fnUntraced(function*(paid: Paid, answer: Pick<Demand.Answer, "headers" | "status">) {
  const { authorization, purchase } = paid
  return {
    id: purchase.id,
    rail: authorization.plan.rail,
    amount: decimal(paid),
    units: authorization.plan.units.toString(),
    asset: symbol(paid),
    ...Option.match(feeOf(paid), { onNone: () => ({}), onSome: (feeUsd) => ({ feeUsd }) }),
    network: authorization.plan.network,
    payee: authorization.plan.payee,
    state: authorization.state,
    delivered: isDelivered(paid),
    receipt: receiptOf(answer, yield* Clock.currentTimeMillis)
  }
})

/**
 * The payment in one line.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toLine = (paid: Paid): string => {
  const { plan, state } = paid.authorization
  const to = plan.payee === "" ? paid.purchase.origin : plan.payee
  const fee = Option.match(feeOf(paid), { onNone: () => "", onSome: (most) => `, with a fee of at most $${most}` })
  return `paid ${decimal(paid)} ${
    symbol(paid)
  } (${plan.units} units on ${plan.network}) to ${to} over ${plan.rail}${fee}: ` +
    `${state}, ${isDelivered(paid) ? "delivered" : "not delivered"}`
}

/**
 * The failure of a command that ended after something was sent, and before the content was there.
 *
 * @category errors
 * @since 0.1.0
 */
export const undelivered = ({ authorization, purchase }: Paid): PaymentError.PaymentError => {
  const { evidence, plan, state } = authorization
  const said = { rail: plan.rail, evidence: Outcome.evidenceJson(evidence) }
  const spent = state === "settled" || state === "presumed"
  return new PaymentError.PaymentError({
    reason: spent
      ? new PaymentError.PaidUndelivered(said)
      : new PaymentError.PaymentUncertain({
        ...said,
        ...(plan.spendableUntil === undefined ? {} : { spendableUntil: plan.spendableUntil })
      }),
    money: spent ? "spent" : "unknown",
    origin: purchase.origin,
    paymentId: purchase.id
  })
}
