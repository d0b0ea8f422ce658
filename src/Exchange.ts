/**
 * One request that may be answered "pay first", whatever carries it: HTTP here, JSON-RPC elsewhere.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Answer } from "./Demand.ts"
import type { PolicyDenied } from "./PaymentError.ts"
import type { Envelope } from "./Rails.ts"
import type { End } from "./ResponseBody.ts"

/**
 * What came back, with nothing of it consumed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answered<out A> {
  readonly answer: Answer
  readonly value: A
  /** Why it must not be paid for, if another server than the one that was asked has answered. */
  readonly elsewhere: Option.Option<PolicyDenied>
}

/**
 * A carrier's view of one logical request. `Payment.pay` owns the loop; an exchange only knows how to send, how to read
 * what came back, and how to tell when the content has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange<in out A, in out E = never, out R = never> {
  /** Scheme, host and port of the server that would be paid. */
  readonly origin: string
  readonly method: string
  /** Without the query. */
  readonly path: string
  /**
   * Names the purchase for a given agent: equal requests of one agent have equal keys. `undefined` for a request that no
   * other equals.
   */
  readonly key: (agent: string) => string | undefined
  /** Whether the same request may be sent again: a safe method, or one with an `Idempotency-Key`. */
  readonly repeatable: boolean
  /** Whether the request has an `Authorization` of its own, which is never overwritten. */
  readonly authorized: boolean
  /** The bytes of the request's content, empty where it has none; `undefined` where they are not at hand. */
  readonly content: Uint8Array | undefined
  /** How the caller wants to pay: the `Accept-Payment` field of the request, where it has one. */
  readonly acceptPayment: string | undefined
  /** Why this request must not be paid for, whatever is demanded. */
  readonly obstacle: Option.Option<PolicyDenied>
  /**
   * Sends the request, with the header fields of a credential for a purchase if there is one. `native` is the challenge that
   * it answers as this carrier has it, where that is another form than a header's.
   */
  readonly send: (envelope: Envelope | undefined, purchase?: string, native?: string) => Effect.Effect<A, E, R>
  /** Whether a failure proves that nothing left this process. */
  readonly isNotSent: (error: E) => boolean
  /** Reads what matters for payment. */
  readonly answer: (a: A) => Effect.Effect<Answered<A>, never, R>
  /** Hands back the content with its end watched: `done` runs once, at once where there is none to read. */
  readonly watch: (a: A, done: (end: End) => Effect.Effect<void>) => Effect.Effect<A>
}
