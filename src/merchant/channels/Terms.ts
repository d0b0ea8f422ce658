/**
 * Which channels pay a merchant, and what is said of those that do not.
 *
 * @since 0.1.0
 */
import type { Address, Hex } from "viem"
import { zeroAddress } from "viem"
import type * as Channel from "../../wire/mpp/Channel.ts"
import type * as ChannelBooks from "../ChannelBooks.ts"
import { notSettled, refuse, Unsettled } from "../ChargeWay.ts"
import { Refused } from "../Way.ts"

/**
 * What channels have to be made of to pay here.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms {
  readonly chainId: number
  readonly token: Address
  readonly payee: Address
  /** Zero where the payee settles itself. */
  readonly operator: Address
}

/**
 * Whether two descriptors are of one channel.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isSame = (one: Channel.Descriptor, other: Channel.Descriptor): boolean =>
  one.payer === other.payer && one.payee === other.payee && one.operator === other.operator &&
  one.token === other.token && one.salt === other.salt && one.authorizedSigner === other.authorizedSigner &&
  one.expiringNonceHash === other.expiringNonceHash

/**
 * Whether a channel pays whom it should, in the right token, and lets those settle it who have to.
 *
 * @category predicates
 * @since 0.1.0
 */
export const fits = ({ operator, payee, payer, token }: Channel.Descriptor, terms: Terms): boolean =>
  payee === terms.payee && token === terms.token && operator === terms.operator && payer !== zeroAddress

const gone: ReadonlySet<string> = new Set(["channel-not-found", "channel-finalized"])

/**
 * A channel that does not pay: its payer has to open another one where it is gone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refusedBy = ({ code, detail, requiredTopUp }: ChannelBooks.Refusal, channelId: Hex): Refused =>
  new Refused({
    status: gone.has(code) ? 410 : 402,
    code: `session/${code}`,
    detail,
    demands: true,
    members: { channelId, ...(requiredTopUp === undefined ? {} : { requiredTopUp: requiredTopUp.toString() }) }
  })

/**
 * @category constructors
 * @since 0.1.0
 */
export const unknownChannel = (channelId: Hex): Refused =>
  refusedBy({ code: "channel-not-found", detail: "The channel is not known here" }, channelId)

/**
 * @category constructors
 * @since 0.1.0
 */
export const unsigned = (): Refused =>
  refuse("session/invalid-signature", "The voucher is not signed by the signer of the channel")

/**
 * @category constructors
 * @since 0.1.0
 */
export const otherChannel = (): Refused =>
  refuse("verification-failed", "The channel is not the one that its descriptor describes")

/**
 * @category constructors
 * @since 0.1.0
 */
export const busy = (): Refused =>
  notSettled(new Unsettled({ outcome: "unknown", detail: "the channel is being closed" }))
