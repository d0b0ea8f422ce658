/**
 * Why the demo did not succeed.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

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
