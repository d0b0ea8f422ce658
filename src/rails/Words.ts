/**
 * What a merchant's answer can say of a payment that he takes himself: words of his, and whether it is worth asking again.
 *
 * @since 0.1.0
 */
import { Evidence, type Next, type Verdict } from "../Rails.ts"

/**
 * Evidence that is the merchant's word.
 *
 * @category constructors
 * @since 0.1.0
 */
export const claimed = (what: string, more: Omit<Partial<typeof Evidence.Type>, "rank" | "what"> = {}): Evidence =>
  new Evidence({ rank: "claimed", what, ...more })

/**
 * An answer that says nothing of the money that can be trusted.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknown = (
  what: string,
  next: Next,
  content = false,
  more: Parameters<typeof claimed>[1] = {}
): Verdict => ({
  _tag: "Unknown",
  content,
  evidence: claimed(what, more),
  next
})

/**
 * Somebody else has to be asked.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reconcile: Next = { _tag: "reconcile" }

/** What is sent again this shortly before its end is not taken any more: a facilitator needs six seconds. In milliseconds. */
const resendMargin = 6_000

/**
 * The same authorisation once more, if there is time for it: it ends at `until`, and is sent `after` so many milliseconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resend = (until: number | undefined, now: number, after: number | undefined): Next =>
  until !== undefined && now + (after ?? 0) > until - resendMargin ? reconcile : { _tag: "resend", after }

/**
 * @category predicates
 * @since 0.1.0
 */
export const isSuccess = (status: number): boolean => status >= 200 && status < 300
