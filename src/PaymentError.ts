/**
 * The typed error channel of every payment.
 *
 * Public functions fail with {@link PaymentError}: a `reason` (one of the tagged errors below), what the failure means
 * for the `money`, and where it happened. Handle one reason with `Effect.catchReason("PaymentError", "BudgetExceeded",
 * ...)`, or lift all of them into the error channel with `Effect.unwrapReason("PaymentError")`.
 *
 * Messages are made of our own words, numbers, origins and payees. What a merchant wrote is in `merchantText` alone.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Amount from "./Amount.ts"
import { Offer, Refused } from "./Offer.ts"

const MerchantText = Schema.optionalKey(Schema.String)
const RetryAfterMillis = Schema.optionalKey(Schema.Natural)
const dollars = (usd: bigint) => `$${Amount.formatUsd(usd)}`
const seconds = (millis: number | undefined) => millis === undefined ? "later" : `in ${Math.ceil(millis / 1000)} s`
const instant = (millis: number) => new Date(millis).toISOString()

/**
 * The resource is sold by session only, and no session could be opened for it.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionRequired extends Schema.TaggedError<SessionRequired>()("SessionRequired", {
  realm: Schema.String,
  offers: Schema.Array(Offer),
  refused: Schema.Array(Refused),
  merchantText: MerchantText
}) {
  override get message() {
    return "This resource is sold by session only and no session could be opened: " +
      `${
        listRefused(this.refused)
      }. List the origin in MPP_SESSION_ORIGINS and set TEMPO_CREDENTIAL to allow sessions there`
  }
}

/**
 * A session's token ran out while it was used, and one renewal did not help.
 *
 * @category errors
 * @since 0.1.0
 */
export class TokenExpired extends Schema.TaggedError<TokenExpired>()("TokenExpired", {
  session: Schema.String,
  expiredAt: Schema.optionalKey(Schema.Natural),
  merchantText: MerchantText
}) {
  override get message() {
    return `The session ${this.session} was refused as expired${
      this.expiredAt === undefined ? "" : ` (its expiry is ${instant(this.expiredAt)})`
    } and its renewal did not help. Try again to open a new one`
  }
}

/**
 * The merchant, or one of our own side requests, asked us to wait.
 *
 * @category errors
 * @since 0.1.0
 */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  /** Milliseconds to wait, as the server asked for. */
  retryAfter: RetryAfterMillis,
  merchantText: MerchantText
}) {
  override get message() {
    return `The server limits the rate of requests. Try again ${seconds(this.retryAfter)}`
  }
}

/**
 * A server that the payment needs is not available: the merchant while something of ours was attached, or a side
 * request of ours.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  /** What did not answer: `merchant`, `session endpoint`, `rpc`. */
  service: Schema.String,
  status: Schema.optionalKey(Schema.Int),
  retryAfter: RetryAfterMillis,
  /** True if nothing can have left this process: the connection was refused, the name did not resolve. */
  notSent: Schema.Boolean,
  merchantText: MerchantText
}) {
  override get message() {
    return `The ${this.service} is not available${this.status === undefined ? "" : ` (HTTP ${this.status})`}. ` +
      `Try again ${seconds(this.retryAfter)}`
  }
}

/**
 * Which limit of the budget: per request, origin, session, agent and window, wallet and day, or a count of requests.
 *
 * @category models
 * @since 0.1.0
 */
export const BudgetScope = Schema.Literals(["request", "origin", "session", "agent", "wallet", "count"])

/**
 * Every way to pay would have gone over a limit. All figures are micro-dollars, except under the scope `count`.
 *
 * @category errors
 * @since 0.1.0
 */
export class BudgetExceeded extends Schema.TaggedError<BudgetExceeded>()("BudgetExceeded", {
  scope: BudgetScope,
  limit: Schema.BigIntFromString,
  spent: Schema.BigIntFromString,
  exposed: Schema.BigIntFromString,
  requested: Schema.BigIntFromString
}) {
  override get message() {
    return this.scope === "count"
      ? `The budget allows ${this.limit} paid requests in its window and ${this.spent} were made. Raise the plan, or wait`
      : this.scope === "request"
      ? `The price of ${dollars(this.requested)} is above the ceiling of ${dollars(this.limit)} for one request. ` +
        "Raise MPP_MAX_PRICE, or Payment.with({ max }), if it is worth it"
      : `Paying ${dollars(this.requested)} would go over the ${this.scope} limit of ${dollars(this.limit)}: ` +
        `${dollars(this.spent)} are spent and ${
          dollars(this.exposed)
        } are held. Raise the budget, or wait for its window`
  }
}

/**
 * A rule of the policy forbids the payment.
 *
 * @category errors
 * @since 0.1.0
 */
export class PolicyDenied extends Schema.TaggedError<PolicyDenied>()("PolicyDenied", {
  /** The name of the rule: `plain-http`, `realm-mismatch`, `redirected`, `unreplayable-body`, `network`, ... */
  rule: Schema.String,
  detail: Schema.String,
  offer: Schema.optionalKey(Offer),
  merchantText: MerchantText
}) {
  override get message() {
    return `The policy forbids this payment (rule ${this.rule}): ${this.detail}`
  }
}

/**
 * The server demands payment, and no way that it offers can be paid by this agent.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoPayableOffer extends Schema.TaggedError<NoPayableOffer>()("NoPayableOffer", {
  offers: Schema.Array(Offer),
  refused: Schema.Array(Refused),
  merchantText: MerchantText
}) {
  override get message() {
    const { length } = this.refused
    return `${length === 1 ? "The only way to pay cannot" : `None of the ${length} ways to pay can`} be used: ${
      listRefused(this.refused)
    }`
  }
}

/**
 * The server refused the payment. What was signed stays held until it is proven void.
 *
 * @category errors
 * @since 0.1.0
 */
export class PaymentRejected extends Schema.TaggedError<PaymentRejected>()("PaymentRejected", {
  rail: Schema.String,
  status: Schema.Int,
  /** A known code of the protocol, such as `insufficient_funds`; `unspecified` otherwise. */
  problem: Schema.String,
  /** Until when the server could still take the money, in milliseconds since the epoch. */
  spendableUntil: Schema.optionalKey(Schema.Natural),
  merchantText: MerchantText
}) {
  override get message() {
    return `The server refused the payment over ${this.rail} (HTTP ${this.status}, ${this.problem})${
      this.spendableUntil === undefined
        ? ""
        : `; it could still take it until ${
          instant(this.spendableUntil)
        }, so the amount stays held until it is proven void. ` +
          "Do not pay by other means before that"
    }`
  }
}

/**
 * The money moved and the content did not come.
 *
 * @category errors
 * @since 0.1.0
 */
export class PaidUndelivered extends Schema.TaggedError<PaidUndelivered>()("PaidUndelivered", {
  rail: Schema.String,
  status: Schema.optionalKey(Schema.Int),
  evidence: Schema.Json,
  merchantText: MerchantText
}) {
  override get message() {
    return `The payment over ${this.rail} was taken${
      this.status === undefined ? "" : ` (HTTP ${this.status})`
    } and the content was not delivered. Asking again resumes the same purchase once, without paying`
  }
}

/**
 * The payment was sent and its outcome is not known.
 *
 * @category errors
 * @since 0.1.0
 */
export class PaymentUncertain extends Schema.TaggedError<PaymentUncertain>()("PaymentUncertain", {
  rail: Schema.String,
  status: Schema.optionalKey(Schema.Int),
  evidence: Schema.Json,
  /** Until when the payment may still be taken, in milliseconds since the epoch. */
  spendableUntil: Schema.optionalKey(Schema.Natural),
  merchantText: MerchantText
}) {
  override get message() {
    return `The payment over ${this.rail} was sent and its outcome is not known${
      this.spendableUntil === undefined ? "" : ` (it can be taken until ${instant(this.spendableUntil)})`
    }. Asking again finds out first and never pays twice`
  }
}

/**
 * The wallet or channel holds too little.
 *
 * @category errors
 * @since 0.1.0
 */
export class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  network: Schema.String,
  asset: Schema.String,
  needed: Schema.BigIntFromString,
  available: Schema.BigIntFromString
}) {
  override get message() {
    return `The wallet holds ${this.available} base units of ${this.asset} on ${this.network} and ${this.needed} are needed. ` +
      "Fund it before asking again"
  }
}

/**
 * A challenge, receipt or answer that does not follow its protocol.
 *
 * @category errors
 * @since 0.1.0
 */
export class ProtocolError extends Schema.TaggedError<ProtocolError>()("ProtocolError", {
  protocol: Schema.String,
  detail: Schema.String,
  merchantText: MerchantText
}) {
  override get message() {
    return `The server does not follow ${this.protocol}: ${this.detail}`
  }
}

/**
 * The wallet could not sign.
 *
 * @category errors
 * @since 0.1.0
 */
export class WalletError extends Schema.TaggedError<WalletError>()("WalletError", {
  operation: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `The wallet failed to ${this.operation}: ${this.detail}`
  }
}

/**
 * A chain's RPC failed, or answered what cannot be.
 *
 * @category errors
 * @since 0.1.0
 */
export class ChainError extends Schema.TaggedError<ChainError>()("ChainError", {
  network: Schema.String,
  operation: Schema.String,
  detail: Schema.String,
  /** The code of the JSON-RPC error that the node answered with. Absent: it gave no answer, or none that can be read. */
  code: Schema.optionalKey(Schema.Int)
}) {
  override get message() {
    return `The RPC of ${this.network} failed at ${this.operation}: ${this.detail}`
  }
}

/**
 * The ledger could not be read or written. What cannot be written is not signed.
 *
 * @category errors
 * @since 0.1.0
 */
export class LedgerUnavailable extends Schema.TaggedError<LedgerUnavailable>()("LedgerUnavailable", {
  operation: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `The ledger is not available (${this.operation}: ${this.detail}), and nothing is signed that could not be written first`
  }
}

const listRefused = (refused: ReadonlyArray<Refused>): string =>
  refused.length === 0
    ? "no way to pay was offered that is known here"
    : refused.slice(0, 4).map((one) => `${one.what} (${one.why})`).join(", ") +
      (refused.length > 4 ? `, and ${refused.length - 4} more` : "")

/**
 * Every reason for which a payment can fail.
 *
 * @category models
 * @since 0.1.0
 */
export const Reason = Schema.Union([
  SessionRequired,
  TokenExpired,
  RateLimited,
  Unavailable,
  BudgetExceeded,
  PolicyDenied,
  NoPayableOffer,
  PaymentRejected,
  PaidUndelivered,
  PaymentUncertain,
  InsufficientFunds,
  ProtocolError,
  WalletError,
  ChainError,
  LedgerUnavailable
])

/**
 * @category models
 * @since 0.1.0
 */
export type Reason = typeof Reason.Type

/**
 * What a failure means for the money: nothing was spent, it is held until the outcome is proven, it is spent, or nobody
 * knows yet (it is counted as held).
 *
 * @category models
 * @since 0.1.0
 */
export const Money = Schema.Literals(["unspent", "held", "spent", "unknown"])

/**
 * @category models
 * @since 0.1.0
 */
export type Money = typeof Money.Type

const gravity: { readonly [K in Money]: number } = { unspent: 0, held: 1, unknown: 2, spent: 3 }

/**
 * What two failures of one purchase mean for the money together: the worse of both.
 *
 * **Example** (The limit of a session is held, and no other way to pay was to be had)
 *
 * ```ts
 * import * as PaymentError from "effect-mpp/PaymentError"
 *
 * PaymentError.worse("held", "unspent") // => "held"
 * PaymentError.worse("held", "unknown") // => "unknown"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const worse = (one: Money, other: Money): Money => gravity[one] >= gravity[other] ? one : other

const moneySentence: { readonly [K in Money]: string } = {
  unspent: "Nothing was spent.",
  held: "The amount is held until it is proven whether it was taken.",
  spent: "The money is spent.",
  unknown: "Whether money moved is not known; it is counted as held."
}

/**
 * The failure of a payment.
 *
 * **Example** (Handling one reason)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { BudgetExceeded, PaymentError } from "effect-mpp/PaymentError"
 *
 * const failing = Effect.fail(
 *   new PaymentError({
 *     reason: new BudgetExceeded({ scope: "agent", limit: 1n, spent: 1n, exposed: 0n, requested: 1n }),
 *     origin: "https://api.example.com",
 *     money: "unspent"
 *   })
 * )
 * const handled = failing.pipe(
 *   Effect.catchReason("PaymentError", "BudgetExceeded", (reason) => Effect.succeed(reason.scope))
 * )
 * Effect.runSync(handled) // => "agent"
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class PaymentError extends Schema.TaggedError<PaymentError>()("PaymentError", {
  reason: Reason,
  /** The origin that was paid or to be paid. */
  origin: Schema.String,
  /** The purchase in the ledger, where one was begun. */
  paymentId: Schema.optionalKey(Schema.String),
  money: Money
}) {
  override readonly cause = this.reason

  override get message() {
    return `${this.reason.message}. ${moneySentence[this.money]} [${this.origin}${
      this.paymentId === undefined ? "" : ` ${this.paymentId}`
    }]`
  }

  /**
   * Whether the same request may be made again by a generic retry: only if nothing was spent and nothing is held.
   */
  get isRetryable(): boolean {
    return this.money === "unspent" && (this.reason._tag === "RateLimited" || this.reason._tag === "Unavailable")
  }
}

/**
 * Finds the payment failure inside another error: the drop-in `HttpClient` carries it as the cause of a
 * `StatusCodeError`.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (error: unknown): Option.Option<PaymentError> => {
  let current = error
  for (let depth = 0; depth < 16; depth++) {
    if (current instanceof PaymentError) return Option.some(current)
    if (!(current instanceof Error)) return Option.none()
    current = "reason" in current && current.cause === undefined ? current.reason : current.cause
  }
  return Option.none()
}
