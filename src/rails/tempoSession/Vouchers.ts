/**
 * The signer of a wallet's vouchers, and what it remembers of their channels.
 *
 * @since 0.1.0
 */
import * as BigInt from "effect/BigInt"
import * as Effect from "effect/Effect"
import type { Address, Hex } from "viem"
import { getAddress } from "viem/utils"
import { WalletError } from "../../PaymentError.ts"
import type { Envelope } from "../../Rails.ts"
import type { Wallet } from "../../Wallet.ts"
import type * as Challenge from "../../wire/mpp/Challenge.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as Credential from "../../wire/mpp/Credential.ts"
import * as Source from "../../wire/mpp/Source.ts"
import type { Payload } from "../../wire/mpp/TempoSession.ts"
import * as Voucher from "../../wire/mpp/Voucher.ts"
import type { Named } from "./Plan.ts"

/**
 * What is remembered of a channel beyond the ledger: nothing that could not be forgotten.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  /** The highest figure that was signed here and may have left. */
  readonly signed: bigint | undefined
  /** The highest figure that the server has said it delivered for, and that fits. */
  readonly spent: bigint
}

interface Entry extends Known, Channel.Place {
  /** What all of its vouchers have in common is hashed once. */
  readonly digest: (cumulative: bigint) => Hex
}

/**
 * Makes the signer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ payer, wallet }: { readonly wallet: Wallet["Service"]; readonly payer: Address }) => {
  const source = getAddress(payer)
  const channels = new Map<Hex, Entry>()

  /** Undefined if the channel is not the one that it is called, or is of another wallet. */
  const find = (channel: Named): Entry | undefined => {
    const { chainId, channelId, descriptor, escrow } = channel
    const before = channels.get(channelId)
    if (before !== undefined) return before.chainId === chainId && before.escrow === escrow ? before : undefined
    if (descriptor.payer !== payer || Channel.id(descriptor, channel) !== channelId) return undefined
    const digest = Voucher.digester({ chainId, channelId, escrow })
    const made: Entry = { chainId, escrow, digest, signed: undefined, spent: 0n }
    channels.set(channelId, made)
    return made
  }

  return {
    /** What is remembered of a channel; undefined if it is none of this wallet's. */
    recall: (channel: Named): Known | undefined => find(channel),
    /** That so much was signed and may leave, and that so much was delivered for. */
    remember: (channel: Named, signed: bigint, spent: bigint): void => {
      const known = find(channel)
      if (known === undefined) return
      channels.set(channel.channelId, {
        ...known,
        signed: BigInt.max(known.signed ?? 0n, signed),
        spent: BigInt.max(known.spent, spent)
      })
    },
    forget: ({ channelId }: Named): void => {
      channels.delete(channelId)
    },
    sign: (channel: Named, cumulative: bigint): Effect.Effect<Hex, WalletError> => {
      const known = find(channel)
      return known === undefined
        ? Effect.fail(
          new WalletError({ operation: "sign a voucher", detail: "the channel is not one of this wallet's" })
        )
        : wallet.signTypedData(Voucher.typedData({ ...channel, cumulative }), known.digest(cumulative))
    },
    /** The answer to a challenge. */
    present: (
      challenge: Challenge.Challenge,
      chainId: number,
      payload: typeof Payload.Encoded
    ): Envelope => ({
      [Credential.headerOf(challenge)]: Credential.format({
        challenge,
        source: Source.format(chainId, source),
        payload
      })
    })
  }
}
