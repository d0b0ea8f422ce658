/**
 * A quote, told: what is offered, what would be paid, and why not otherwise. Nothing is signed for it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Amount from "../Amount.ts"
import * as Asset from "../Asset.ts"
import type { Candidate } from "../Choice.ts"
import type { Offer, Refused } from "../Offer.ts"
import * as PayingClient from "../PayingClient.ts"
import * as Payment from "../Payment.ts"
import type { Reason } from "../PaymentError.ts"
import * as Shares from "../wire/mpp/Shares.ts"
import * as Asked from "./Asked.ts"
import * as Output from "./Output.ts"
import * as Table from "./Table.ts"

/**
 * An offer, and what this agent makes of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Quotation {
  readonly offer: Offer
  readonly asset: Option.Option<Asset.Asset>
  /** The candidate that it became, if it can be paid. */
  readonly candidate: Option.Option<Candidate>
  readonly why: string
}

/**
 * What came of asking once, without a credential.
 *
 * @category models
 * @since 0.1.0
 */
export interface Quoted {
  readonly method: string
  /** Without the query. */
  readonly url: string
  readonly status: number
  readonly free: boolean
  readonly warnings: ReadonlyArray<string>
  readonly protocols: ReadonlyArray<string>
  readonly hints: ReadonlyArray<string>
  /** Best first; then those that cannot be paid. */
  readonly offers: ReadonlyArray<Quotation>
  /** What could not even be read as an offer. */
  readonly unread: ReadonlyArray<Refused>
  /** Why nothing can be paid, if nothing can. */
  readonly failure: Option.Option<Reason>
}

/**
 * Asks once, and signs nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ask = Effect.fnUntraced(function*(asked: Asked.Asked) {
  const request = yield* Asked.request(asked)
  const quote = yield* Payment.with(PayingClient.quote(request), yield* Asked.options(asked))
  const table = yield* Asset.Table
  const offers = [
    ...quote.candidates.map((candidate): Quotation => ({
      offer: candidate.offer,
      asset: Option.some(candidate.asset),
      candidate: Option.some(candidate),
      why: candidate.why
    })),
    ...quote.declined.map(({ offer, why }): Quotation => ({
      offer,
      asset: offer.protocol === "mpp/1.0" ? Option.some(Asset.sessionUsdc) : table.find(offer.network, offer.asset),
      candidate: Option.none(),
      why
    }))
  ]
  const quoted: Quoted = {
    method: request.method,
    url: asked.url.origin + asked.url.pathname,
    status: quote.status,
    free: quote.free,
    warnings: quote.warnings,
    protocols: [...new Set(offers.map(({ offer }) => offer.protocol))],
    hints: quote.hints.map(Table.clean),
    offers,
    unread: quote.refused.slice(0, quote.refused.length - quote.declined.length),
    failure: quote.failure
  }
  return quoted
})

/** In US dollars, where the asset is known and counts as such. */
const usdOf = ({ asset }: Quotation, units: bigint): string | null =>
  Option.match(Option.filter(asset, ({ usd }) => usd), {
    onNone: () => null,
    onSome: (asset) => Amount.formatUsd(Amount.toUsd({ asset, units }))
  })

/** Names are the server's words as well. */
const word = (text: string): string => Table.clean(text).slice(0, 80)

const assetOf = ({ asset, offer }: Quotation): string =>
  Option.match(asset, { onNone: () => word(offer.asset), onSome: ({ symbol }) => symbol })

const shareJson = (quotation: Quotation, { payee, units }: Shares.Share): Output.JsonObject => ({
  payee: word(payee),
  units: Option.match(units, { onNone: () => null, onSome: String }),
  price: Option.match(units, { onNone: () => null, onSome: (units) => usdOf(quotation, units) })
})

/**
 * An offer as a document. Where others than the payee get a part of the price, it says who gets how much.
 *
 * @category formatting
 * @since 0.1.0
 */
export const offerJson = (quotation: Quotation): Output.JsonObject => {
  const { candidate, offer, why } = quotation
  return {
    protocol: offer.protocol,
    version: offer.version ?? null,
    intent: word(offer.intent),
    method: word(offer.method),
    network: word(offer.network),
    asset: assetOf(quotation),
    units: offer.units.toString(),
    price: usdOf(quotation, offer.units),
    payee: word(offer.payee),
    ...(offer.externalId === undefined ? {} : { externalId: Table.clean(offer.externalId) }),
    ...(offer.alsoPays === undefined ? {} : { shares: Shares.of(offer).map((share) => shareJson(quotation, share)) }),
    payable: Option.isSome(candidate),
    rail: Option.match(candidate, { onNone: () => null, onSome: ({ rail }) => rail.name }),
    why,
    ...(offer.merchantText === undefined ? {} : { merchantText: Table.clean(offer.merchantText) })
  }
}

/**
 * Why nothing can be paid, as a document.
 *
 * @category formatting
 * @since 0.1.0
 */
export const failureJson = ({ failure }: Quoted): Output.JsonObject | null =>
  Option.match(failure, {
    onNone: () => null,
    onSome: ({ _tag, message }) => ({ _tag, message: Table.clean(message) })
  })

/**
 * A quote as a document.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toJson = (quoted: Quoted): Output.JsonObject => ({
  method: quoted.method,
  url: quoted.url,
  status: quoted.status,
  free: quoted.free,
  payable: quoted.offers.some(({ candidate }) => Option.isSome(candidate)) && Option.isNone(quoted.failure),
  reason: failureJson(quoted),
  protocols: quoted.protocols,
  hints: quoted.hints,
  warnings: quoted.warnings,
  offers: quoted.offers.map(offerJson),
  refused: quoted.unread.map(({ what, why }) => ({ what: word(what), why: Table.clean(why) }))
})

const amount = (quotation: Quotation, units: bigint): string => {
  const usd = usdOf(quotation, units)
  return usd === null ? `${units} units of ${assetOf(quotation)}` : `$${usd}`
}

/**
 * The price of an offer, as people write it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const price = (quotation: Quotation): string => amount(quotation, quotation.offer.units)

/**
 * Who gets how much of the price, the payee first; nobody where the payee gets all of it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const shares = (quotation: Quotation): ReadonlyArray<readonly [payee: string, amount: string]> =>
  quotation.offer.alsoPays === undefined ? [] : Shares.of(quotation.offer).map(({ payee, units }) => [
    word(payee),
    Option.match(units, { onNone: () => "not said", onSome: (units) => amount(quotation, units) })
  ])

/**
 * The warnings, each in a line of its own.
 *
 * @category formatting
 * @since 0.1.0
 */
export const warningLines = ({ warnings }: Quoted): string =>
  warnings.map((warning) => `Warning: ${warning}`).join("\n")

/**
 * What an offer is: its protocol, and what it asks for.
 *
 * @category formatting
 * @since 0.1.0
 */
export const what = ({ offer }: Quotation): string =>
  offer.protocol === "x402"
    ? `x402 ${word(offer.method)}`
    : offer.protocol === "mpp/1.0"
    ? "mpp/1.0 session"
    : `mpp ${word(offer.method)}/${word(offer.intent)}`

/**
 * What the server answered, in one line.
 *
 * @category formatting
 * @since 0.1.0
 */
export const headline = (quoted: Quoted): string =>
  `${quoted.method} ${quoted.url}: ${
    quoted.free
      ? `${quoted.status}, nothing is to be paid`
      : quoted.status !== 402
      ? `HTTP ${quoted.status}; nothing is demanded`
      : Option.match(quoted.failure, {
        onNone: () => `${quoted.status}, this agent can pay`,
        onSome: () => `${quoted.status}, this agent cannot pay now`
      })
  }`

/**
 * The offers as a table, and what each merchant wrote below it.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toTable = (quoted: Quoted): string => {
  const rows = quoted.offers.map((quotation) => [
    what(quotation),
    word(quotation.offer.network),
    price(quotation),
    Option.match(quotation.candidate, { onNone: () => "no", onSome: ({ rail }) => rail.name }),
    quotation.why
  ])
  const shared = quoted.offers.flatMap((quotation) =>
    shares(quotation).map(([payee, amount]) => [what(quotation), payee, amount])
  )
  const texts = new Set(quoted.offers.flatMap(({ offer }) => offer.merchantText ?? []))
  return [
    ...(rows.length === 0
      ? []
      : [Table.render(["offer", "network", { title: "price", align: "right" }, "paid over", "because"], rows)]),
    ...(shared.length === 0
      ? []
      : [Table.render(["offer", "shared among", { title: "gets", align: "right" }], shared)]),
    ...(quoted.unread.length === 0
      ? []
      : [Table.render(["refused", "because"], quoted.unread.map((one) => [word(one.what), one.why]))]),
    ...(quoted.warnings.length === 0 ? [] : [warningLines(quoted)]),
    ...(quoted.hints.length === 0 ? [] : [`Also seen: ${quoted.hints.join(", ")}`]),
    ...(texts.size === 0 ? [] : [[...texts].map(Output.merchantSays).join("\n")])
  ].join("\n\n")
}
