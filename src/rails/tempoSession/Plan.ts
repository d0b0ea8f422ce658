/**
 * What is written down of a channel before anything is signed: the transaction that opens it, every voucher, and what is
 * needed to close it.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as HexText from "../../wire/Hex.ts"
import { Challenge } from "../../wire/mpp/Challenge.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"

/**
 * A channel: where it is, what it is made of, and what it is called.
 *
 * @category models
 * @since 0.1.0
 */
export type Named = Pick<Draw, keyof typeof place>

const place = {
  chainId: Schema.Int.check(Schema.isGreaterThan(0)),
  escrow: HexText.Address,
  descriptor: Channel.Descriptor,
  channelId: HexText.Bytes32
}

/**
 * The resource that is paid for: its server takes the messages that manage the channel there, too.
 *
 * @category models
 * @since 0.1.0
 */
export const Resource = Schema.Struct({ method: Schema.String, url: Schema.String })

/**
 * The opening of a channel.
 *
 * @category models
 * @since 0.1.0
 */
export const Open = Schema.Struct({
  ...place,
  challenge: Challenge,
  transaction: TempoUnsigned.Unsigned,
  /** The figure of the first voucher. */
  first: Channel.Units,
  /** What a transaction of the payer's own may cost, in micro-dollars: two of them end a channel without the merchant. */
  reserve: Channel.Units,
  resource: Resource,
  /** Seconds since the epoch. */
  plannedAt: Schema.Natural,
  /** When the channel is to be closed, in milliseconds since the epoch. */
  expiresAt: Schema.Natural
})

/**
 * @category models
 * @since 0.1.0
 */
export type Open = typeof Open.Type

/**
 * One voucher, or two: the first is the figure that is enough if no draw of unknown outcome was taken, and `most` is enough in
 * any case.
 *
 * @category models
 * @since 0.1.0
 */
export const Draw = Schema.Struct({
  ...place,
  challenge: Challenge,
  /** What the channel had paid for before, as far as is known. */
  before: Channel.Units,
  first: Channel.Units,
  most: Channel.Units
})

/**
 * @category models
 * @since 0.1.0
 */
export type Draw = typeof Draw.Type

/**
 * An open channel.
 *
 * @category models
 * @since 0.1.0
 */
export const Handle = Schema.Struct({
  ...place,
  resource: Resource,
  reserve: Channel.Units,
  /** The figure of the first voucher. */
  first: Channel.Units,
  /** What the opening may have cost, in micro-dollars. */
  openFee: Channel.Units,
  /** When it could no longer be opened, in seconds since the epoch. */
  validBefore: Schema.Natural,
  /** Seconds since the epoch. */
  plannedAt: Schema.Natural
})

/**
 * @category models
 * @since 0.1.0
 */
export type Handle = typeof Handle.Type

/**
 * @category decoding
 * @since 0.1.0
 */
export const decodeOpen = Schema.decodeUnknownOption(Open)

/**
 * @category decoding
 * @since 0.1.0
 */
export const decodeDraw = Schema.decodeUnknownOption(Draw)

/**
 * @category decoding
 * @since 0.1.0
 */
export const decodeHandle = Schema.decodeUnknownOption(Handle)

/**
 * @category encoding
 * @since 0.1.0
 */
export const encodeOpen = Schema.encodeSync(Open)

/**
 * @category encoding
 * @since 0.1.0
 */
export const encodeDraw = Schema.encodeSync(Draw)

/**
 * @category encoding
 * @since 0.1.0
 */
export const encodeHandle = Schema.encodeSync(Handle)
