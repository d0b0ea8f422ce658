/**
 * The offers that the demands of both versions of x402 make together.
 *
 * A merchant that speaks both versions offers the same thing twice. Entries that agree on scheme, network, asset, amount,
 * payee, flow and transfer method become one offer with two envelopes, so that the same authorisation, not a second one,
 * can be sent in the other form.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { cleanText, Offer, Refused } from "../../Offer.ts"
import type { Envelope } from "./Envelope.ts"
import * as Networks from "./Networks.ts"
import type { PaymentRequired } from "./PaymentRequired.ts"
import type * as V1 from "./V1.ts"
import type * as V2 from "./V2.ts"

/** What an entry of either version says. */
interface Terms {
  readonly envelope: Envelope
  readonly scheme: string
  readonly network: string
  readonly asset: string
  readonly units: bigint
  readonly payee: string
  readonly validitySeconds: number
  readonly flow: string
  readonly transfer: string
  readonly resource: string | undefined
  readonly description: string
}

const text = (value: Schema.Json | undefined): string | undefined => typeof value === "string" ? value : undefined

/** Anything but a text is a flow and a method that nobody knows. */
const textOr = (value: Schema.Json | undefined, fallback: string): string => text(value ?? fallback) ?? "unknown"

const fromExtra = (extra: Schema.JsonObject | undefined) => ({
  flow: textOr(extra?.paymentFlow, "authorization"),
  transfer: textOr(extra?.assetTransferMethod, "eip3009")
})

const termsV1 = (received: Schema.JsonObject, requirement: V1.Requirement): Result.Result<Terms, string> =>
  Option.match(Networks.fromName(requirement.network), {
    onNone: () => Result.fail("its network is not known"),
    onSome: (network) =>
      Result.succeed({
        envelope: { version: 1, requirement: received },
        scheme: requirement.scheme,
        network,
        asset: requirement.asset,
        units: requirement.maxAmountRequired,
        payee: requirement.payTo,
        validitySeconds: requirement.maxTimeoutSeconds,
        ...fromExtra(requirement.extra),
        resource: requirement.resource,
        description: cleanText(requirement.description ?? "")
      })
  })

const termsV2 = (
  { extensions, resource }: V2.PaymentRequired,
  received: Schema.JsonObject,
  requirement: V2.Requirement
): Terms => ({
  envelope: {
    version: 2,
    requirement: received,
    ...(resource === undefined ? {} : { resource }),
    ...(extensions === undefined ? {} : { extensions })
  },
  scheme: requirement.scheme,
  network: requirement.network,
  asset: requirement.asset,
  units: requirement.amount,
  payee: requirement.payTo,
  validitySeconds: requirement.maxTimeoutSeconds,
  ...fromExtra(requirement.extra),
  resource: text(resource?.url),
  description: cleanText(text(resource?.description) ?? "")
})

/** Money moves after the content, before it, or into escrow around it. */
const flows: ReadonlySet<string> = new Set(["authorization", "upfront", "escrow"])

const screen = (terms: Terms): Result.Result<Terms, string> => {
  if (!flows.has(terms.flow)) return Result.fail("its payment flow is not known")
  if (terms.scheme === "exact" && terms.flow === "escrow") return Result.fail("its scheme knows no escrow")
  if (terms.scheme === "exact" && terms.units === 0n) {
    return Result.fail("there is nothing to sign for an amount of zero")
  }
  return Result.succeed(terms)
}

/**
 * What a demand comes to: the offers, and the entries that are none, with the reason.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offers {
  readonly offers: ReadonlyArray<Offer>
  readonly refused: ReadonlyArray<Refused>
}

interface Read {
  readonly terms: ReadonlyArray<Terms>
  readonly refused: ReadonlyArray<Refused>
}

const readEntries = <Requirement extends { readonly scheme: string; readonly network: string }>(
  version: 1 | 2,
  demand: PaymentRequired<Requirement>,
  termsOf: (received: Schema.JsonObject, requirement: Requirement) => Result.Result<Terms, string>
): Read => {
  const [terms, refused] = Array.partition(
    demand.entries,
    ({ received, requirement }, index) =>
      Result.match(requirement, {
        onFailure: (why) => Result.fail(new Refused({ what: `x402 version ${version}, entry ${index + 1}`, why })),
        onSuccess: (read) =>
          Result.mapError(
            Result.flatMap(termsOf(received, read), screen),
            (why) => new Refused({ what: `x402 ${read.scheme} on ${read.network}`, why })
          )
      })
  )
  const rest = demand.unread > 0
    ? `entries not looked at: ${demand.unread}`
    : demand.entries.length === 0
    ? "it lists no way to pay"
    : undefined
  return {
    terms,
    refused: rest === undefined ? refused : [...refused, new Refused({ what: `x402 version ${version}`, why: rest })]
  }
}

/** Hexadecimal addresses are the same in any case; others are not. */
const folded = (address: string) => address.startsWith("0x") ? address.toLowerCase() : address

const keyOf = ({ asset, flow, network, payee, scheme, transfer, units }: Terms): string =>
  JSON.stringify([scheme, network, folded(asset), units.toString(), folded(payee), flow, transfer])

const makeOffer = (first: Terms, second: Terms | undefined): Offer => {
  const { asset, network, payee, scheme, units } = first
  const all = second === undefined ? [first] : [first, second]
  const resource = first.resource ?? second?.resource
  const merchantText = first.description || second?.description || ""
  return new Offer({
    protocol: "x402",
    version: first.envelope.version,
    intent: "charge",
    method: scheme,
    network,
    asset,
    units,
    payee,
    ...(resource === undefined ? {} : { resource }),
    validitySeconds: Math.min(...all.map(({ validitySeconds }) => validitySeconds)),
    ...(merchantText === "" ? {} : { merchantText }),
    wire: { envelopes: all.map(({ envelope }) => envelope) }
  })
}

/** Each entry of version 2 takes the first entry of version 1 that says the same; the others stand alone. */
const pair = (second: ReadonlyArray<Terms>, first: ReadonlyArray<Terms>) => {
  const waiting = Array.groupBy(first, keyOf)
  const paired = second.map((terms) => ({ terms, twin: waiting[keyOf(terms)]?.shift() }))
  const alone = Object.values(waiting).flat().map((terms) => ({ terms, twin: undefined }))
  return [...paired, ...alone]
}

/**
 * The offers of an answer's demands: those of version 2 first, and those that take the money before the content is made
 * last.
 *
 * @category conversions
 * @since 0.1.0
 */
export const make = (demands: {
  readonly v1: Option.Option<V1.PaymentRequired>
  readonly v2: Option.Option<V2.PaymentRequired>
}): Offers => {
  const nothing: Read = { terms: [], refused: [] }
  const v2 = Option.match(demands.v2, {
    onNone: () => nothing,
    onSome: (demand) =>
      readEntries(2, demand, (received, requirement) => Result.succeed(termsV2(demand, received, requirement)))
  })
  const v1 = Option.match(demands.v1, {
    onNone: () => nothing,
    onSome: (demand) => readEntries(1, demand, termsV1)
  })
  const [afterwards, upfront] = Array.partition(
    pair(v2.terms, v1.terms),
    (one) => one.terms.flow === "authorization" ? Result.succeed(one) : Result.fail(one)
  )
  return {
    offers: [...afterwards, ...upfront].map(({ terms, twin }) => makeOffer(terms, twin)),
    refused: [...v2.refused, ...v1.refused]
  }
}
