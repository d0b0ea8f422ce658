/**
 * Why the demo did not succeed.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as PaymentError from "../../PaymentError.ts"

/**
 * The demo could not run, or its money is not exact. The message says all that there is to say.
 *
 * @category errors
 * @since 0.1.0
 */
export class DemoFailed extends Schema.TaggedError<DemoFailed>()("DemoFailed", {
  what: Schema.String,
  why: Schema.String
}) {
  override get message() {
    return `${this.what}: ${this.why}`
  }
}

/**
 * Whatever went wrong, in one sentence.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failed = (what: string) => (error: Error): DemoFailed =>
  error instanceof DemoFailed
    ? error
    : new DemoFailed({
      what,
      why: error instanceof PaymentError.ChainError
        ? error.detail
        : Option.match(PaymentError.find(error), {
          onNone: () => error.message,
          onSome: ({ message }) => message
        })
    })
