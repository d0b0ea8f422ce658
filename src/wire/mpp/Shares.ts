/**
 * Who gets how much of the price of an offer. A request of MPP may name others who get a part; its recipient has the rest.
 *
 * @since 0.1.0
 */
import type * as Array from "effect/Array"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import type { Offer } from "../../Offer.ts"
import * as Challenge from "./Challenge.ts"

/**
 * Somebody's share of a price.
 *
 * @category models
 * @since 0.1.0
 */
export interface Share {
  readonly payee: string
  /** Base units of the offer's asset; none where the demand does not say. */
  readonly units: Option.Option<bigint>
}

const decodeSplits = Schema.decodeUnknownOption(Schema.Struct({
  methodDetails: Schema.Struct({
    splits: Schema.Array(Schema.Struct({ recipient: Schema.String, amount: Amount.Units }))
  })
}))

/** The parts in the order of the offer; none where the demand does not say the same. */
const partsOf = (offer: Offer, others: ReadonlyArray<string>): Option.Option<ReadonlyArray<bigint>> =>
  Challenge.fromOffer(offer).pipe(
    Option.flatMap(Challenge.requestOf),
    Option.flatMap(decodeSplits),
    Option.map(({ methodDetails }) => methodDetails.splits),
    Option.filter((splits) =>
      splits.length === others.length && splits.every(({ recipient }, at) => recipient === others[at])
    ),
    Option.map((splits) => splits.map(({ amount }) => amount))
  )

/**
 * The shares of an offer's price: that of the payee, and then those of the others in their order.
 *
 * **Example** (Nobody else gets a part)
 *
 * ```ts
 * import { Offer } from "effect-mpp/Offer"
 * import * as Shares from "effect-mpp/wire/mpp/Shares"
 *
 * const offer = new Offer({
 *   protocol: "x402",
 *   intent: "charge",
 *   method: "exact",
 *   network: "eip155:8453",
 *   asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
 *   units: 1000n,
 *   payee: "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00",
 *   wire: {}
 * })
 * Shares.of(offer).length // => 1
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const of = (offer: Offer): Array.NonEmptyReadonlyArray<Share> => {
  const { alsoPays: others = [], payee, units } = offer
  if (others.length === 0) return [{ payee, units: Option.some(units) }]
  const parts = partsOf(offer, others)
  const rest = Option.map(parts, (known) => known.reduce((left, part) => left - part, units))
  return [
    { payee, units: Option.filter(rest, (left) => left >= 0n) },
    ...others.map((other, at): Share => ({
      payee: other,
      units: Option.flatMap(parts, (known) => Option.fromUndefinedOr(known[at]))
    }))
  ]
}
