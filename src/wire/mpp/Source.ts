/**
 * Who pays, as a credential says it: `did:pkh:eip155:<chain id>:<address>`.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Address } from "viem"

/**
 * An account on a chain. The address is in lower case where it was read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Source {
  readonly chainId: number
  readonly address: Address
}

const pattern = /^did:pkh:eip155:([1-9][0-9]{0,15}):0x([0-9a-fA-F]{40})$/

/**
 * Writes the `source` of a credential.
 *
 * **Example** (Naming the payer)
 *
 * ```ts
 * import * as Source from "effect-mpp/wire/mpp/Source"
 *
 * Source.format(4217, "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1")
 * // => "did:pkh:eip155:4217:0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (chainId: number, address: Address): string => `did:pkh:eip155:${chainId}:${address}`

/**
 * Reads the `source` of a credential; none for accounts that are on no EVM chain.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string): Option.Option<Source> => {
  const match = pattern.exec(text)
  const chainId = Number(match?.[1])
  return match === null || !Number.isSafeInteger(chainId)
    ? Option.none()
    : Option.some({ chainId, address: `0x${match[2]!.toLowerCase()}` })
}
