/**
 * Words that a stranger chose and that are shown all the same: short, printable, and unable to reorder a line.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * An id, address or currency: printable ASCII without spaces, at most 256 characters.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Word = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,256}$/, { message: "Expected a word of printable characters" })
)

/**
 * The name of a method, scheme or intent, at most 64 characters.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Name = Schema.String.check(
  Schema.isPattern(/^[A-Za-z][A-Za-z0-9:_-]{0,63}$/, { message: "Expected a name" })
)

/**
 * A protection space: at most 255 characters, none of them a control or format character or a line separator.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Realm = Schema.String.check(
  Schema.isPattern(/^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u, { message: "Expected a realm" })
)

/**
 * The version of a payment method, where a challenge says one: the first is the only one that is known here.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Version = Schema.Literals([1, "1"])
