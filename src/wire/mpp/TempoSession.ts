/**
 * The method `tempo`, intent `session`: many payments out of one channel, each by a voucher.
 *
 * What a challenge asks for, what proves a payment, what a server knows of a channel, and the events with which a stream
 * asks for more.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as HexText from "../Hex.ts"
import * as Json from "../Json.ts"
import { type Challenge, requestOf } from "./Challenge.ts"
import * as Channel from "./Channel.ts"
import type { Receipt } from "./Receipt.ts"

/**
 * The header in which a client names its channel, and a server the one that it knows.
 *
 * @category constants
 * @since 0.1.0
 */
export const sessionHeader = "payment-session"

/**
 * The header of a {@link Snapshot}.
 *
 * @category constants
 * @since 0.1.0
 */
export const snapshotHeader = "payment-session-snapshot"

/**
 * The event with which a stream asks for a higher voucher; its data are a {@link NeedVoucher}.
 *
 * @category constants
 * @since 0.1.0
 */
export const needVoucherEvent = "payment-need-voucher"

/**
 * The event with which a stream says what it has taken; its data are a {@link SessionReceipt}.
 *
 * @category constants
 * @since 0.1.0
 */
export const receiptEvent = "payment-receipt"

/** A member that nothing hangs on is absent where it is not understood. */
const lenient = <S extends Schema.Constraint>(schema: S) => Schema.catchDecoding<S>(() => Effect.succeedNone)(schema)

const ChainId = Schema.Int.check(Schema.isGreaterThan(0))
const Count = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * What a server says of a channel, so that a client that has forgotten it can go on. A claim: the channel's id has to be
 * that of its descriptor, and nothing is signed on the server's word for what was signed before.
 *
 * @category models
 * @since 0.1.0
 */
export const Snapshot = Schema.Struct({
  channelId: HexText.Bytes32,
  chainId: ChainId,
  escrow: HexText.Address,
  descriptor: Channel.Descriptor,
  deposit: Channel.Units,
  settled: Channel.Units,
  /** The highest voucher that the server has. */
  acceptedCumulative: Channel.Units,
  /** The voucher that the server wants next. */
  requiredCumulative: Channel.Units,
  /** What was delivered for. */
  spent: Channel.Units,
  units: Schema.optionalKey(lenient(Count)),
  /** Seconds since the epoch; the channel is closing unless it is absent or zero. */
  closeRequestedAt: Schema.optionalKey(Channel.Units),
  highestVoucher: Schema.optionalKey(Schema.Struct({
    channelId: HexText.Bytes32,
    cumulativeAmount: Channel.Units,
    signature: HexText.Bytes
  }))
})

/**
 * @category models
 * @since 0.1.0
 */
export type Snapshot = typeof Snapshot.Type

const details = {
  channelId: Schema.optionalKey(HexText.Bytes32),
  /** By how much a voucher has to be above the one before. */
  minVoucherDelta: Schema.optionalKey(Channel.Units),
  /** Whether the merchant pays the fees of the transactions that open a channel or add to it. */
  feePayer: Schema.optionalKey(Schema.Boolean),
  feeToken: Schema.optionalKey(HexText.Address)
}

const DetailsV2 = Schema.Struct({
  sessionProtocol: Schema.Literal("v2"),
  chainId: ChainId,
  escrowContract: HexText.Address,
  ...details,
  operator: Schema.optionalKey(HexText.Address),
  sessionSnapshot: Schema.optionalKey(lenient(Snapshot))
})

const DetailsV1 = Schema.Struct({
  sessionProtocol: Schema.optionalKey(Schema.Literal("v1")),
  chainId: Schema.optionalKey(ChainId),
  escrowContract: Schema.optionalKey(HexText.Address),
  ...details
})

/**
 * What a challenge asks for.
 *
 * **Details**
 *
 * `amount` is the price of one unit, not of all that will be asked for, and `suggestedDeposit` is what the merchant would
 * like to see in the channel. `methodDetails` are those of the version of the protocol: version 2 says so, and always names
 * the chain and the escrow contract; where `sessionProtocol` is absent it is version 1. A snapshot that cannot be read is
 * absent.
 *
 * @category models
 * @since 0.1.0
 */
export const Request = Schema.Struct({
  amount: Channel.Units.check(Schema.isGreaterThanBigInt(0n)),
  unitType: Schema.optionalKey(Schema.String),
  suggestedDeposit: Schema.optionalKey(Channel.Units),
  /** The token. */
  currency: HexText.Address,
  recipient: HexText.Address,
  externalId: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  methodDetails: Schema.Union([DetailsV2, DetailsV1])
})

/**
 * @category models
 * @since 0.1.0
 */
export type Request = typeof Request.Type

const decodeRequest = Json.decoder(Request)

/** What is wrong with the details, where it can be said better than by the member's name. */
const flawOf = ({ methodDetails: details }: Schema.JsonObject): string | undefined => {
  if (!Json.isObject(details)) return undefined
  const { chainId, escrowContract, sessionProtocol = "v1" } = details
  if (sessionProtocol === "v1") return undefined
  if (sessionProtocol !== "v2") return "its session protocol is not known here"
  return chainId === undefined || escrowContract === undefined ? "it names no chain or no escrow contract" : undefined
}

/**
 * What a challenge asks for, or why it is no session that can be paid.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromChallenge = (challenge: Challenge): Result.Result<Request, string> => {
  if (challenge.method !== "tempo" || challenge.intent !== "session") return Result.fail("it is no session on Tempo")
  return requestOf(challenge).pipe(
    Result.fromOption(() => "its request is no JSON object in base64url"),
    Result.map(Json.withoutNestedNulls),
    Result.flatMap((json) => {
      const flaw = flawOf(json)
      return flaw === undefined ? decodeRequest(json) : Result.fail(flaw)
    })
  )
}

const channel = {
  channelId: HexText.Bytes32,
  /** Absent in version 1. */
  descriptor: Schema.optionalKey(Channel.Descriptor)
}

const voucher = {
  cumulativeAmount: Channel.Units,
  signature: HexText.Bytes
}

/**
 * What proves a payment, or changes the channel that it comes from.
 *
 * **Details**
 *
 * - `open`: the signed transaction that opens the channel, and the first voucher.
 * - `topUp`: the signed transaction that adds to the deposit.
 * - `voucher`: a voucher.
 * - `close`: the last voucher; the merchant closes the channel and takes no more than it delivered for.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.Union([
  Schema.Struct({
    action: Schema.Literal("open"),
    type: Schema.Literal("transaction"),
    ...channel,
    transaction: HexText.Bytes,
    authorizedSigner: Schema.optionalKey(HexText.Address),
    ...voucher
  }),
  Schema.Struct({
    action: Schema.Literal("topUp"),
    type: Schema.Literal("transaction"),
    ...channel,
    transaction: HexText.Bytes,
    additionalDeposit: Channel.Units
  }),
  Schema.Struct({ action: Schema.Literal("voucher"), ...channel, ...voucher }),
  Schema.Struct({ action: Schema.Literal("close"), ...channel, ...voucher })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Payload = typeof Payload.Type

const decodeSnapshotJson = Json.decoder(Snapshot)
const encodeSnapshotJson = Schema.encodeSync(Snapshot)

/**
 * Reads the header of a snapshot, in base64 of any alphabet.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeSnapshot = (header: string): Option.Option<Snapshot> =>
  header.length > Json.maxHeaderLength
    ? Option.none()
    : Json.fromBase64(header.trim()).pipe(
      Option.map(Json.withoutNestedNulls),
      Option.flatMap((json) => Result.getSuccess(decodeSnapshotJson(json)))
    )

/**
 * Writes the header of a snapshot.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeSnapshot = (snapshot: Snapshot): string => Json.toBase64Url(encodeSnapshotJson(snapshot))

/**
 * What a receipt of a session says beyond others: how much the server may take from the channel in all, how much of that it
 * has delivered for, and the transaction if there was one.
 *
 * @category models
 * @since 0.1.0
 */
export const SessionReceipt = Schema.Struct({
  channelId: HexText.Bytes32,
  acceptedCumulative: Channel.Units,
  spent: Channel.Units,
  units: Schema.optionalKey(lenient(Count)),
  txHash: Schema.optionalKey(lenient(HexText.Bytes32)),
  challengeId: Schema.optionalKey(lenient(Schema.String))
})

/**
 * @category models
 * @since 0.1.0
 */
export type SessionReceipt = typeof SessionReceipt.Type

const decodeReceipt = Json.decoder(SessionReceipt)

const fromMembers = (members: Schema.JsonObject): Option.Option<SessionReceipt> =>
  members.status === "success" && members.method === "tempo" && (members.intent ?? "session") === "session"
    ? Result.getSuccess(decodeReceipt(members))
    : Option.none()

/**
 * What a receipt says of a session; none if it is of something else.
 *
 * @category getters
 * @since 0.1.0
 */
export const receiptOf = (receipt: Receipt): Option.Option<SessionReceipt> =>
  receipt.protocol === "mpp" ? fromMembers(receipt.members) : Option.none()

/** The data of an event, in the length of a header. */
const parseData = (data: string): Option.Option<Schema.JsonObject> =>
  data.length > Json.maxHeaderLength ? Option.none() : Json.parseObject(data)

/**
 * Reads the data of a {@link receiptEvent}.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeReceiptEvent = (data: string): Option.Option<SessionReceipt> =>
  Option.flatMap(parseData(data), fromMembers)

/**
 * What a stream asks for before it goes on: a voucher of at least `requiredCumulative`. The server may ask; whether that is
 * justified by what was delivered is for the client to say.
 *
 * @category models
 * @since 0.1.0
 */
export const NeedVoucher = Schema.Struct({
  channelId: HexText.Bytes32,
  requiredCumulative: Channel.Units,
  acceptedCumulative: Channel.Units,
  deposit: Channel.Units
})

/**
 * @category models
 * @since 0.1.0
 */
export type NeedVoucher = typeof NeedVoucher.Type

const decodeNeed = Json.decoder(NeedVoucher)

/**
 * Reads the data of a {@link needVoucherEvent}.
 *
 * **Example** (A stream that wants 25 units more)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as TempoSession from "effect-mpp/wire/mpp/TempoSession"
 *
 * const data = JSON.stringify({
 *   channelId: `0x${"ab".repeat(32)}`,
 *   requiredCumulative: "250025",
 *   acceptedCumulative: "250000",
 *   deposit: "500000"
 * })
 * Option.getOrThrow(TempoSession.decodeNeedVoucher(data)).requiredCumulative // => 250025n
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeNeedVoucher = (data: string): Option.Option<NeedVoucher> =>
  Option.flatMap(parseData(data), (json) => Result.getSuccess(decodeNeed(json)))
