/**
 * The logs of Tempo chains: transfers of tokens, and where fees go.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Hex } from "viem"
import { isHex, pad, toEventSelector } from "viem/utils"
import type * as Chain from "../../Chain.ts"

/**
 * The events of a TIP-20 token.
 *
 * @category constants
 * @since 0.1.0
 */
export const topics = {
  transfer: toEventSelector("Transfer(address,address,uint256)"),
  withMemo: toEventSelector("TransferWithMemo(address,address,uint256,bytes32)")
} as const

/**
 * Where fees go, on every Tempo chain.
 *
 * @category constants
 * @since 0.1.0
 */
export const feeManager: Hex = "0xfeec000000000000000000000000000000000000"

/**
 * An address as it stands in a topic.
 *
 * @category conversions
 * @since 0.1.0
 */
export const word = (address: Hex): Hex => pad(address, { size: 32 })

/**
 * Whether two texts of hexadecimal digits are the same bytes.
 *
 * @category predicates
 * @since 0.1.0
 */
export const sameHex = (left: string | undefined, right: string): boolean =>
  left !== undefined && left.toLowerCase() === right.toLowerCase()

/**
 * The units of a transfer; none where the log has no such figure.
 *
 * @category getters
 * @since 0.1.0
 */
export const unitsOf = ({ data }: Chain.Log): Option.Option<bigint> =>
  isHex(data) && data.length === 66 ? Option.some(BigInt(data)) : Option.none()
