/**
 * The method `tempo`, intent `charge`: one payment in a TIP-20 token on a Tempo chain.
 *
 * What a challenge asks for, which transfers pay it, how a transfer names its challenge, and the proof of an account where
 * nothing is charged.
 *
 * @since 0.1.0
 */
import type * as Array from "effect/Array"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Address, Hex, TypedDataDefinition } from "viem"
import { concatHex, keccak256, sliceHex, stringToHex } from "viem/utils"
import * as Amount from "../../Amount.ts"
import * as HexText from "../Hex.ts"
import * as Json from "../Json.ts"
import { Version } from "../Text.ts"
import { type Challenge, requestOf } from "./Challenge.ts"

/**
 * The most recipients that an amount is split among, beside the first one.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxSplits = 10

const Split = Schema.Struct({
  amount: Amount.Units.check(Schema.isGreaterThanBigInt(0n)),
  recipient: HexText.Address,
  memo: Schema.optionalKey(HexText.Bytes32)
})

const Mode = Schema.Literals(["pull", "push"])
const isMode = Schema.is(Mode)

/** Modes that are not known here are left out; a list of none but those allows nothing. */
const Modes = Schema.Array(Schema.String).pipe(
  Schema.decodeTo(
    Schema.Array(Mode),
    SchemaTransformation.transform<ReadonlyArray<typeof Mode.Type>, ReadonlyArray<string>>({
      decode: (names) => names.filter((name) => isMode(name)),
      encode: (modes) => modes
    })
  )
)

/**
 * What a challenge asks for.
 *
 * **Details**
 *
 * `amount` is the whole price, the splits within it. An `amount` of zero asks for a proof of the account instead of money.
 * `pull` hands the merchant a signed transaction to broadcast, `push` the hash of one that the payer broadcast; without
 * `supportedModes` both are taken. Without `chainId` the request does not say on which chain it is to be paid.
 *
 * @category models
 * @since 0.1.0
 */
export const Request = Schema.Struct({
  amount: Amount.Units,
  /** The token. */
  currency: HexText.Address,
  recipient: HexText.Address,
  externalId: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  methodDetails: Schema.optionalKey(Schema.Struct({
    version: Schema.optionalKey(Version),
    chainId: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0))),
    /** Whether the merchant pays the fee. */
    feePayer: Schema.optionalKey(Schema.Boolean),
    memo: Schema.optionalKey(HexText.Bytes32),
    splits: Schema.optionalKey(
      Schema.Array(Split).check(Schema.isMinLength(1), Schema.isMaxLength(maxSplits))
    ),
    supportedModes: Schema.optionalKey(Modes)
  }))
})

/**
 * @category models
 * @since 0.1.0
 */
export type Request = typeof Request.Type

const decodeRequest = Json.decoder(Request)

const splitsOf = (request: Request) => request.methodDetails?.splits ?? []

const splitSum = (request: Request): bigint => splitsOf(request).reduce((sum, { amount }) => sum + amount, 0n)

/**
 * What a challenge asks for, or why it is no charge that can be paid.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromChallenge = (challenge: Challenge): Result.Result<Request, string> => {
  if (challenge.method !== "tempo" || challenge.intent !== "charge") return Result.fail("it is no charge on Tempo")
  return requestOf(challenge).pipe(
    Result.fromOption(() => "its request is no JSON object in base64url"),
    Result.map(Json.withoutNestedNulls),
    Result.flatMap(decodeRequest),
    Result.filterOrFail(
      (request) => splitsOf(request).length === 0 || splitSum(request) < request.amount,
      () => "its splits leave nothing for the recipient"
    )
  )
}

/**
 * One transfer of a token.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transfer {
  readonly to: Address
  readonly units: bigint
  readonly memo?: Hex
}

/**
 * The transfers that pay for a request, in their order: to the recipient what the splits leave, with `memo`, then the
 * splits.
 *
 * @category getters
 * @since 0.1.0
 */
export const transfers = (request: Request, memo: Hex): Array.NonEmptyReadonlyArray<Transfer> => [
  { to: request.recipient, units: request.amount - splitSum(request), memo },
  ...splitsOf(request).map(({ amount, memo, recipient }): Transfer => ({
    to: recipient,
    units: amount,
    ...(memo === undefined ? {} : { memo })
  }))
]

/** The first bytes of the digest of a text. */
const fingerprint = (text: string, size: number): Hex => sliceHex(keccak256(stringToHex(text)), 0, size)

const tag = fingerprint("mpp", 4)
const version: Hex = "0x01"
const anonymous: Hex = `0x${"00".repeat(10)}`

/**
 * The memo of 32 bytes that ties a transfer to its challenge: a tag and its version, fingerprints of the realm and of the
 * client (zero if it has no name), and one of the challenge's id. By it a payment is found again on the chain.
 *
 * **Example** (The memo of an anonymous client)
 *
 * ```ts
 * import * as TempoCharge from "effect-mpp/wire/mpp/TempoCharge"
 *
 * TempoCharge.attribution({ realm: "api.example.com", challengeId: "challenge-123" })
 * // => "0xef1ed712011ece072f76bd8b82350e00000000000000000000eb18f2d4402269"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const attribution = ({ challengeId, clientId, realm }: {
  readonly realm: string
  readonly challengeId: string
  readonly clientId?: string | undefined
}): Hex =>
  concatHex([
    tag,
    version,
    fingerprint(realm, 10),
    clientId === undefined || clientId === "" ? anonymous : fingerprint(clientId, 10),
    fingerprint(challengeId, 7)
  ])

/**
 * What an account signs where nothing is charged, to prove that it is there. Version 3, which servers verify; the draft's
 * version 1 binds neither the account nor the realm.
 *
 * @category constructors
 * @since 0.1.0
 */
export const proofTypedData = ({ account, chainId, challengeId, realm }: {
  readonly account: Address
  readonly chainId: number
  readonly challengeId: string
  readonly realm: string
}) => ({
  domain: { name: "MPP", version: "3", chainId },
  types: {
    Proof: [
      { name: "account", type: "address" },
      { name: "challengeId", type: "string" },
      { name: "realm", type: "string" }
    ]
  },
  primaryType: "Proof",
  message: { account, challengeId, realm }
} as const satisfies TypedDataDefinition)

/**
 * What proves a payment: a signed transaction, the hash of one that was broadcast, or, where nothing is charged, the
 * signature of {@link proofTypedData}.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.Union([
  Schema.Struct({ type: Schema.Literal("transaction"), signature: HexText.Bytes }),
  Schema.Struct({ type: Schema.Literal("hash"), hash: HexText.Bytes32 }),
  Schema.Struct({ type: Schema.Literal("proof"), signature: HexText.Bytes })
])

/**
 * @category models
 * @since 0.1.0
 */
export type Payload = typeof Payload.Type
