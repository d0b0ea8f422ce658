/**
 * The method `evm`, intent `charge`: one payment in a token on an EVM chain, by an EIP-3009 authorization whose nonce is the
 * digest of its challenge.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Hex } from "viem"
import { keccak256, stringToHex } from "viem/utils"
import * as Amount from "../../Amount.ts"
import * as HexText from "../Hex.ts"
import * as Json from "../Json.ts"
import { Version } from "../Text.ts"
import { type Challenge, requestOf } from "./Challenge.ts"

/**
 * The types of credentials that are known here. A challenge may accept others, which are kept in its list.
 *
 * @category constants
 * @since 0.1.0
 */
export const credentialTypes = ["authorization"] as const

const Split = Schema.Struct({
  amount: Amount.Units.check(Schema.isGreaterThanBigInt(0n)),
  recipient: HexText.Address
})

/**
 * What a challenge asks for.
 *
 * **Details**
 *
 * `amount` is the whole price, the splits within it; an authorization pays one recipient, and cannot serve a request that
 * has splits. Decimals are not read: they come from our own table.
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
  methodDetails: Schema.Struct({
    version: Schema.optionalKey(Version),
    chainId: Schema.Int.check(Schema.isGreaterThan(0)),
    /** In the order in which the merchant prefers them. */
    credentialTypes: Schema.optionalKey(Schema.Array(Schema.String)),
    splits: Schema.optionalKey(Schema.Array(Split))
  })
})

/**
 * @category models
 * @since 0.1.0
 */
export type Request = typeof Request.Type

const decodeRequest = Json.decoder(Request)

/**
 * What a challenge asks for, or why it is no charge that can be paid.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromChallenge = (challenge: Challenge): Result.Result<Request, string> => {
  if (challenge.method !== "evm" || challenge.intent !== "charge") return Result.fail("it is no charge on an EVM chain")
  return requestOf(challenge).pipe(
    Result.fromOption(() => "its request is no JSON object in base64url"),
    Result.map(Json.withoutNestedNulls),
    Result.flatMap(decodeRequest)
  )
}

/**
 * Whether an authorization can pay for a request: it is among the credentials that the merchant listed, and there is one
 * recipient. A merchant that lists none takes transactions, not authorizations.
 *
 * @category predicates
 * @since 0.1.0
 */
export const takesAuthorization = ({ methodDetails }: Request): boolean =>
  (methodDetails.credentialTypes ?? []).includes("authorization") && (methodDetails.splits ?? []).length === 0

/**
 * The nonce of the authorization that answers a challenge, which binds it to that challenge: the digest of its id and its
 * realm.
 *
 * **Example** (A token takes a nonce once, so a challenge is paid once)
 *
 * ```ts
 * import { nonce } from "effect-mpp/wire/mpp/EvmCharge"
 *
 * nonce({ id: "challenge-123", realm: "api.example.com" })
 * // => "0x6e75bcb5df1f8022ad4eecac5da5620c2c1db72d885bca54897f41a782c65b3a"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const nonce = ({ id, realm }: Pick<Challenge, "id" | "realm">): Hex => keccak256(stringToHex(id + realm))

/**
 * What proves a payment: an EIP-3009 `TransferWithAuthorization` and its signature. On the wire every number is a decimal
 * string; instants are seconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.Struct({
  type: Schema.Literal("authorization"),
  from: HexText.Address,
  to: HexText.Address,
  value: Amount.Units,
  validAfter: Amount.Units,
  validBefore: Amount.Units,
  nonce: HexText.Bytes32,
  signature: HexText.Bytes
})

/**
 * @category models
 * @since 0.1.0
 */
export type Payload = typeof Payload.Type
