/**
 * Hexadecimal of EVM chains as it travels: addresses, words of 32 bytes, and bytes.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** The digits are a part of their own, so that examples can be made of them. */
const hex = (digits: RegExp, expected: string) =>
  Schema.TemplateLiteral([
    "0x",
    Schema.String.check(Schema.isPattern(digits, { message: `Expected ${expected} in hexadecimal` }))
  ])

const lowerCase = SchemaTransformation.transform<`0x${string}`, `0x${string}`>({
  decode: (text) => `0x${text.slice(2).toLowerCase()}`,
  encode: (text) => text
})

const AnyAddress = hex(/^[0-9a-fA-F]{40}$/, "an address")
const AnyBytes32 = hex(/^[0-9a-fA-F]{64}$/, "32 bytes")

/**
 * An address in any case, read in lower case: it stands for 20 bytes, and two spellings of them are equal. A checksum is
 * not looked at; published examples get it wrong.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Address = AnyAddress.pipe(Schema.decodeTo(AnyAddress, lowerCase))

/**
 * 32 bytes, read in lower case: a hash, a memo, a nonce.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Bytes32 = AnyBytes32.pipe(Schema.decodeTo(AnyBytes32, lowerCase))

/**
 * The most bytes that are read of a signature or a transaction.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBytes = 16 * 1024

/**
 * Whole bytes, at least one and at most {@link maxBytes}: a signature, a transaction.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Bytes = hex(/^(?:[0-9a-fA-F]{2})+$/, "bytes").check(Schema.isMaxLength(2 + 2 * maxBytes))

/**
 * Whole bytes, or none: what a contract is called with.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Data = hex(/^(?:[0-9a-fA-F]{2})*$/, "bytes").check(Schema.isMaxLength(2 + 2 * maxBytes))
