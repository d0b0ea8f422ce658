/**
 * `Payment-Receipt`: what a server says that was paid, in the standard form or in that of the `mpp/1.0` dialect.
 *
 * A receipt is a claim. It is read leniently, because what it claims is that money moved.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { cleanText } from "../../Offer.ts"
import * as Json from "../Json.ts"
import { SessionId, Usdc } from "./SessionEndpoint.ts"

/**
 * A receipt of a standard payment. `reference` is the transaction hash of a charge and the channel of a session;
 * `challengeId` is the challenge that was answered, where the server says so; `members` is the receipt as received, where a
 * method finds what else it knows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standard {
  readonly protocol: "mpp"
  readonly method: string
  readonly reference: string
  readonly timestamp: string
  readonly status: "success"
  readonly challengeId?: string
  readonly members: Schema.JsonObject
}

/**
 * A receipt of one draw on a token session, in micro-dollars.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seed {
  readonly protocol: "mpp/1.0"
  readonly sessionId: string
  readonly amount: bigint
  readonly remaining: bigint
}

/**
 * @category models
 * @since 0.1.0
 */
export type Receipt = Standard | Seed

const StandardWire = Schema.Struct({
  status: Schema.Literal("success"),
  method: Schema.String,
  reference: Schema.optionalKey(Schema.String),
  timestamp: Schema.optionalKey(Schema.String)
})

const SeedWire = Schema.Struct({ sessionId: SessionId, amountUsdc: Usdc, remainingUsdc: Usdc })

const decodeStandard = Json.decoder(StandardWire)
const decodeSeed = Json.decoder(SeedWire)
/** A session's receipt is told by what it lacks: to try and to fail takes longer than to read it. */
const noStandard = Result.fail("it has no status")
const encodeSeedWire = Schema.encodeSync(SeedWire)

/**
 * Reads a receipt in base64 of any alphabet. A receipt whose status is not `success` is none.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (header: string): Option.Option<Receipt> => {
  if (header.length > Json.maxHeaderLength) return Option.none()
  return Option.flatMap(Json.fromBase64(header.trim()), (members) =>
    Result.getSuccess(Result.orElse(
      Result.map("status" in members ? decodeStandard(members) : noStandard, (receipt): Receipt => ({
        protocol: "mpp",
        method: cleanText(receipt.method),
        reference: cleanText(receipt.reference ?? ""),
        timestamp: cleanText(receipt.timestamp ?? ""),
        status: receipt.status,
        ...(typeof members.challengeId === "string" ? { challengeId: members.challengeId } : {}),
        members
      })),
      () =>
        Result.map(decodeSeed(members), (receipt): Receipt => ({
          protocol: "mpp/1.0",
          sessionId: receipt.sessionId,
          amount: receipt.amountUsdc,
          remaining: receipt.remainingUsdc
        }))
    )))
}

/**
 * Writes the value of the `Payment-Receipt` header.
 *
 * **Example** (The receipt of one draw)
 *
 * ```ts
 * import * as Receipt from "effect-mpp/wire/mpp/Receipt"
 *
 * const header = Receipt.encodeSeed({ sessionId: "sess_1", amount: 1_000n, remaining: 999_000n })
 * Receipt.decode(header)._tag // => "Some"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeSeed = (receipt: Omit<Seed, "protocol">): string =>
  Json.toBase64Url(encodeSeedWire({
    sessionId: receipt.sessionId,
    amountUsdc: receipt.amount,
    remainingUsdc: receipt.remaining
  }))

/**
 * Writes the value of the `Payment-Receipt` header for a standard payment; `members` may add what the method knows.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (
  receipt: Pick<Standard, "method" | "reference" | "timestamp"> & {
    readonly members?: Schema.JsonObject
  }
): string =>
  Json.toBase64Url({
    ...receipt.members,
    status: "success",
    method: receipt.method,
    reference: receipt.reference,
    timestamp: receipt.timestamp
  })
