/**
 * The transactions that pay for Tempo charges: what a signed one says, beside all that is known of those which are not
 * signed yet.
 *
 * This module loads `viem/tempo`, which takes a while; `TempoUnsigned` does not.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Address, Hex } from "viem"
import { Transaction } from "viem/tempo"
import { fromRlp, numberToHex, toRlp } from "viem/utils"
import * as HexText from "../Hex.ts"

export * from "./TempoUnsigned.ts"

/**
 * What a signed transaction says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Decoded {
  readonly chainId: number
  /** Recovered from the signature if that is one of secp256k1, else what the signature says of itself. */
  readonly from: Address
  readonly signatureType: string
  readonly calls: ReadonlyArray<{ readonly to: Address | undefined; readonly value: bigint; readonly data: Hex }>
  readonly gas: bigint
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
  readonly nonceKey: bigint
  readonly nonce: bigint
  /** Seconds since the epoch. */
  readonly validBefore: number | undefined
  readonly validAfter: number | undefined
  /** Absent where the transaction is sponsored: the payer did not sign for it. */
  readonly feeToken: Address | undefined
  /** Whether it awaits the signature of a fee payer. */
  readonly sponsored: boolean
  /** Whether a fee payer has signed it already. */
  readonly feePayerSigned: boolean
  /** Whether it grants a key, delegates an account, or warms storage: what no plain payment does. */
  readonly keyAuthorization: boolean
  readonly authorizationList: boolean
  readonly accessList: boolean
  /** For `Transaction.serialize` of `viem/tempo`, with the payer's signature in it. */
  readonly serializable: Transaction.TransactionSerializableTempo
}

/**
 * The most calls of a transaction that is read.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxCalls = 64

const Bytes = Schema.TemplateLiteral(["0x", Schema.String])
const TwentyBytes = Bytes.check(Schema.isPattern(/^0x[0-9a-f]{40}$/))
const isAddress = Schema.is(TwentyBytes)
const None = Schema.Literal("0x")
const AwaitsFeePayer = Schema.Literal("0x00")
const List = Schema.Array(Schema.Unknown)

/** At most 32 bytes without leading zeros; zero is empty. */
const Quantity = Bytes.check(Schema.isPattern(/^0x(?!00)(?:[0-9a-f]{2}){0,32}$/)).pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transform<bigint, Hex>({
      decode: (hex) => hex === "0x" ? 0n : BigInt(hex),
      encode: (quantity) => quantity === 0n ? "0x" : numberToHex(quantity)
    })
  )
)

const Safe = Quantity.check(Schema.isLessThanOrEqualToBigInt(BigInt(Number.MAX_SAFE_INTEGER)))

/** The members of an envelope in their order, without the signature at the end and the key authorization before it. */
const members = [
  Safe.check(Schema.isGreaterThanBigInt(0n)),
  Quantity,
  Quantity,
  Quantity,
  Schema.Array(Schema.Tuple([Schema.Union([None, TwentyBytes]), Quantity, Bytes])).check(Schema.isMaxLength(maxCalls)),
  List,
  Quantity,
  Quantity,
  Safe,
  Safe,
  Schema.Union([None, TwentyBytes]),
  Schema.Union([None, AwaitsFeePayer, TwentyBytes, List]),
  List
] as const

const decodeMembers = Schema.decodeUnknownOption(
  Schema.Union([Schema.Tuple([...members, Bytes]), Schema.Tuple([...members, List, Bytes])])
)

const callsAt = 4
const nonceAt = 7
const feeTokenAt = 10
const feePayerAt = 11

type Rlp = Hex | ReadonlyArray<Rlp>

/**
 * The longest byte string beside the calls, in bytes: no signature is longer. To look for the parts of one that a passkey
 * made takes time by the square of its length.
 */
const maxMemberBytes = 1024

const isShort = (item: Rlp): boolean =>
  typeof item === "string" ? item.length <= 2 + 2 * maxMemberBytes : item.every(isShort)

const readRlp = Option.liftThrowable((rlp: Hex) => fromRlp(rlp, "hex"))
const deserialize = Option.liftThrowable((serialized: Transaction.TransactionSerializedTempo) =>
  Transaction.deserialize(serialized)
)

/** Who pays the fee: `0x78` has the sender in the place of the fee payer's signature, and `0x76` has not. */
const feePayerOf = (type: string, member: string | ReadonlyArray<unknown>) =>
  type === "0x78"
    ? member.length === 42 ? "awaited" : undefined
    : typeof member !== "string"
    ? "signed"
    : { "0x": "none" as const, "0x00": "awaited" as const }[member]

/** What the payer signed: a sponsored transaction names neither the fee's token nor who pays it. */
const signedForm = (items: ReadonlyArray<Rlp>, sponsored: boolean) =>
  items.map((item, at) => sponsored && at === feeTokenAt ? "0x" : sponsored && at === feePayerAt ? "0x00" : item)

const readEnvelope = (type: string, rlp: Hex) => {
  const items = Option.getOrUndefined(readRlp(rlp))
  if (items === undefined || typeof items === "string" || toRlp(items) !== rlp) return Option.none()
  if (!items.every((item, at) => at === callsAt || isShort(item))) return Option.none()
  return Option.flatMap(decodeMembers(items), (members): Option.Option<Decoded> => {
    const feePayer = feePayerOf(type, members[feePayerAt])
    if (feePayer === undefined) return Option.none()
    const sponsored = feePayer === "awaited"
    // The nonce would be rounded where the fee payer's signature is added, and the payer's would no longer fit.
    if (sponsored && members[nonceAt] > BigInt(Number.MAX_SAFE_INTEGER)) return Option.none()
    const envelope = deserialize(`0x76${toRlp(signedForm(items, sponsored)).slice(2)}`)
    return Option.flatMap(envelope, (serializable) => {
      const { signature } = serializable
      const from = serializable.from?.toLowerCase()
      if (!isAddress(from) || signature === undefined || (type === "0x78" && from !== members[feePayerAt])) {
        return Option.none()
      }
      return Option.some({
        chainId: Number(members[0]),
        from,
        signatureType: signature.type,
        calls: members[callsAt].map(([to, value, data]) => ({ to: to === "0x" ? undefined : to, value, data })),
        gas: members[3],
        maxFeePerGas: members[2],
        maxPriorityFeePerGas: members[1],
        nonceKey: members[6],
        nonce: members[nonceAt],
        validBefore: Number(members[8]) || undefined,
        validAfter: Number(members[9]) || undefined,
        feeToken: sponsored || members[feeTokenAt] === "0x" ? undefined : members[feeTokenAt],
        sponsored,
        feePayerSigned: feePayer === "signed",
        keyAuthorization: members.length === 15,
        authorizationList: members[12].length > 0,
        accessList: members[5].length > 0,
        serializable
      })
    })
  })
}

/**
 * Reads a signed transaction, for whoever is handed one. Total: none where it is no signed transaction of Tempo in the one
 * form that the chain takes, or where its signature is none or not that of the sender it names.
 *
 * **Details**
 *
 * A transaction that awaits a fee payer comes in two forms: as `0x78` with the sender's address, or as `0x76` with a zero in
 * its place.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (signed: string): Option.Option<Decoded> => {
  if (signed.length > 2 + 2 * HexText.maxBytes) return Option.none()
  const text = signed.toLowerCase()
  return /^0x7[68](?:[0-9a-f]{2})+$/.test(text)
    ? readEnvelope(text.slice(0, 4), `0x${text.slice(4)}`)
    : Option.none()
}
