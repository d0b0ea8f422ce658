/**
 * What an answer demands and says: offers, refused ones with reasons, receipt, problem, when to come back.
 *
 * @since 0.1.0
 */
import type * as Option from "effect/Option"
import type { Offer, Refused } from "./Offer.ts"

/**
 * An answer of a server, reduced to what matters for payment. Header names are lower case; the body is text of at most
 * 256 KiB, read only where the status says that it may be a demand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly status: number
  readonly headers: { readonly [name: string]: string | undefined }
  readonly body: string | undefined
}

/**
 * A receipt in any of the protocols.
 *
 * @category models
 * @since 0.1.0
 */
export type Receipt =
  | {
    readonly protocol: "mpp"
    readonly method: string
    readonly reference: string
    readonly timestamp: string
    readonly status: "success"
  }
  | {
    readonly protocol: "mpp/1.0"
    readonly sessionId: string
    /** micro-dollars */
    readonly amount: bigint
    readonly remaining: bigint
  }
  | {
    readonly protocol: "x402"
    readonly success: boolean
    readonly transaction: string
    readonly network: string
    readonly payer: string | undefined
    readonly amount: bigint | undefined
    readonly errorReason: string | undefined
  }

/**
 * An RFC 9457 problem, or an x402 `error`, reduced to a known code.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** Of the characters `[A-Za-z0-9_./:-]`, at most 120 of them; `unspecified` where the text is no code. */
  readonly code: string
  readonly merchantText: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Demand {
  readonly offers: ReadonlyArray<Offer>
  readonly refused: ReadonlyArray<Refused>
  /** Signs that a protocol is spoken here, never payable by themselves. */
  readonly hints: ReadonlyArray<string>
  /** Whether any standard or dialect `Payment` challenge was seen: what makes a 401 one of ours. */
  readonly challenged: boolean
  readonly receipt: Option.Option<Receipt>
  readonly problem: Option.Option<Problem>
  /** Milliseconds, capped at one hour. */
  readonly retryAfter: Option.Option<number>
}
