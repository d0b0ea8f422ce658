/**
 * How the executable ends.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Ref from "effect/Ref"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { PaymentError, Reason } from "../PaymentError.ts"

/**
 * The statuses that the process exits with.
 *
 * @category constants
 * @since 0.1.0
 */
export const status = {
  done: 0,
  failed: 1,
  /** A flag, an argument or a setting that cannot be. */
  usage: 2,
  /** Refused here, before anything was signed: budget, policy, no payable offer, funds. */
  refused: 3,
  /** The server refused the payment. */
  rejected: 4,
  /** Paid, or possibly paid, and not delivered. */
  undelivered: 5,
  /** Rate limited or unavailable, still so after all waiting. */
  unavailable: 6,
  interrupted: 130
} as const

/**
 * A command that ended with this status. What there was to say has been said.
 *
 * @category errors
 * @since 0.1.0
 */
export class Exited extends Schema.TaggedError<Exited>()("Exited", { status: Schema.Int }) {
  override readonly [Runtime.errorExitCode] = this.status
  override readonly [Runtime.errorReported] = false
}

/**
 * The command was called in a way that cannot be carried out.
 *
 * @category errors
 * @since 0.1.0
 */
export class Usage extends Schema.TaggedError<Usage>()("Usage", { message: Schema.String }) {}

/**
 * The command was understood, and is not carried out.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { message: Schema.String }) {}

/**
 * A file that was exported from a ledger is not what was written.
 *
 * @category errors
 * @since 0.1.0
 */
export class Broken extends Schema.TaggedError<Broken>()("Broken", { message: Schema.String, line: Schema.Natural }) {}

/**
 * What should never happen did.
 *
 * @category errors
 * @since 0.1.0
 */
export class Bug extends Schema.TaggedError<Bug>()("Bug", { message: Schema.String }) {}

/**
 * A defect, told as the bug that it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const bug = (defect: unknown): Bug => {
  const what = Predicate.isError(defect) ? `${defect.name}: ${defect.message}` : "no error was given"
  return new Bug({ message: `This is a bug: ${what.slice(0, 500)}` })
}

/**
 * The command was interrupted before it had anything to tell.
 *
 * @category errors
 * @since 0.1.0
 */
export class Stopped extends Schema.TaggedError<Stopped>()("Interrupted", {}) {
  override readonly message = "Interrupted"
}

const ofReason: { readonly [Tag in Reason["_tag"]]: number } = {
  BudgetExceeded: status.refused,
  PolicyDenied: status.refused,
  NoPayableOffer: status.refused,
  SessionRequired: status.refused,
  InsufficientFunds: status.refused,
  WalletError: status.refused,
  PaymentRejected: status.rejected,
  TokenExpired: status.rejected,
  ProtocolError: status.rejected,
  PaidUndelivered: status.undelivered,
  PaymentUncertain: status.undelivered,
  RateLimited: status.unavailable,
  Unavailable: status.unavailable,
  ChainError: status.unavailable,
  LedgerUnavailable: status.failed
}

/**
 * The status of a payment that failed. Money that is gone, or may be, comes before the reason.
 *
 * @category getters
 * @since 0.1.0
 */
export const statusOf = (error: Pick<PaymentError, "money"> & { readonly reason: { readonly _tag: Reason["_tag"] } }) =>
  error.money === "spent" || error.money === "unknown" ? status.undelivered : ofReason[error.reason._tag]

/**
 * The status of a command that was interrupted. An interrupted fiber has no say in how it ends; so whoever was interrupted
 * with something under way says it here.
 *
 * @category services
 * @since 0.1.0
 */
export class Interrupted extends Context.Service<Interrupted, Ref.Ref<number>>()("effect-mpp/cli/Interrupted") {
  /** Ends an interrupted command with the status that was set: 130 if none was. */
  static readonly withStatus = <A, E, R>(command: Effect.Effect<A, E, R | Interrupted>) =>
    Effect.flatMap(Ref.make<number>(status.interrupted), (ref) =>
      command.pipe(
        Effect.provideService(Interrupted, ref),
        Effect.onInterrupt(() => Effect.flatMap(Ref.get(ref), (status) => Effect.fail(new Exited({ status }))))
      ))
}
