/**
 * Exact money: base units of an {@link Asset.Asset} as a bigint. There is no float anywhere, and the number of decimals
 * comes from our own table, never from a server.
 *
 * Budgets compare money across assets in **micro-dollars**: bigint units of 10^-6 US dollar. Conversion rounds up, so
 * that no asset of many decimals is ever counted as nothing.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Asset } from "./Asset.ts"

/**
 * Base units of an asset. On the wire at most 78 decimal digits (a `uint256`).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Units = Schema.String.check(
  Schema.isPattern(/^(?:0|[1-9][0-9]{0,77})$/, { message: "Expected a whole number of base units" })
).pipe(
  Schema.decodeTo(
    Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 2n ** 256n - 1n })),
    SchemaTransformation.transform({ decode: (digits: string) => BigInt(digits), encode: (units) => units.toString() })
  )
)

/**
 * An amount of an asset.
 *
 * @category models
 * @since 0.1.0
 */
export interface Amount {
  readonly asset: Asset
  readonly units: bigint
}

/**
 * Decimals of the unit in which budgets count: one micro-dollar is 10^-6 US dollar.
 *
 * @category constants
 * @since 0.1.0
 */
export const usdDecimals = 6

const decimalPattern = /^(\d{1,12})(?:\.(\d{1,18}))?$/

/**
 * Parses a decimal amount of money to base units; nothing but digits and one point is accepted, and more digits than
 * the asset has decimals are refused rather than rounded.
 *
 * **Example** (Parsing a price)
 *
 * ```ts
 * import * as Amount from "effect-mpp/Amount"
 * import * as Option from "effect/Option"
 *
 * Option.getOrThrow(Amount.parse("0.05", 6)) // => 50000n
 * Amount.parse("1e-3", 6)._tag // => "None"
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (text: string, decimals: number): Option.Option<bigint> => {
  const match = decimalPattern.exec(text)
  if (match === null) return Option.none()
  const fraction = match[2] ?? ""
  if (fraction.length > decimals) return Option.none()
  return Option.some(BigInt(match[1]! + fraction.padEnd(decimals, "0")))
}

/**
 * Formats base units as a decimal, with at least two digits behind the point where the asset has them, so that dollars
 * read as dollars.
 *
 * **Example** (Formatting a price)
 *
 * ```ts
 * import * as Amount from "effect-mpp/Amount"
 *
 * Amount.format(50_000n, 6) // => "0.05"
 * Amount.format(1_000_000n, 6) // => "1.00"
 * Amount.format(1n, 6) // => "0.000001"
 * ```
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (units: bigint, decimals: number): string => {
  const negative = units < 0n
  const digits = (negative ? -units : units).toString().padStart(decimals + 1, "0")
  const whole = digits.slice(0, digits.length - decimals)
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "").padEnd(Math.min(2, decimals), "0")
  return `${negative ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`
}

/**
 * Micro-dollars of an amount, rounded **up**. Only meaningful for assets whose `usd` is true.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toUsd = ({ asset, units }: Amount): bigint => {
  const excess = asset.decimals - usdDecimals
  if (excess <= 0) return units * 10n ** BigInt(-excess)
  const divisor = 10n ** BigInt(excess)
  return (units + divisor - 1n) / divisor
}

/**
 * Parses US dollars to micro-dollars.
 *
 * @category parsing
 * @since 0.1.0
 */
export const parseUsd = (text: string): Option.Option<bigint> => parse(text.replace(/^\$/, ""), usdDecimals)

/**
 * Formats micro-dollars as dollars, without the sign: `"0.05"`.
 *
 * @category formatting
 * @since 0.1.0
 */
export const formatUsd = (usd: bigint): string => format(usd, usdDecimals)

/**
 * Micro-dollars, written as decimal dollars.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UsdFromString = Schema.String.check(
  Schema.isPattern(/^\$?\d{1,12}(\.\d{1,6})?$/, { message: "Expected US dollars such as 0.05" })
).pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transform({
      decode: (text: string) => Option.getOrElse(parseUsd(text), () => 0n),
      encode: (usd: bigint) => formatUsd(usd)
    })
  )
)
