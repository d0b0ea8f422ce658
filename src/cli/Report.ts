/**
 * How failures are told: to people on stderr, to programs as one document on stdout, and to the shell as a status.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Layer from "effect/Layer"
import type { PlatformError } from "effect/PlatformError"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { Agent } from "../Agent.ts"
import * as PaymentError from "../PaymentError.ts"
import type { DemoFailed } from "./demo/DemoFailed.ts"
import * as Environment from "./Environment.ts"
import { type Broken, type Bug, Exited, type Refused, status, statusOf, Stopped, type Usage } from "./Exit.ts"
import * as Output from "./Output.ts"
import * as Standing from "./Standing.ts"
import * as Table from "./Table.ts"

/**
 * Whatever a command can fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  | PaymentError.PaymentError
  | PaymentError.Reason
  | HttpClientError
  | Config.ConfigError
  | PlatformError
  | Usage
  | Refused
  | Broken
  | Bug
  | Stopped
  | DemoFailed

/** A failure in the words of the executable. */
interface Told {
  readonly status: number
  readonly tag: string
  readonly message: string
  readonly merchantText?: string | undefined
  readonly details?: Output.JsonObject
}

const encodeReason = Schema.encodeUnknownSync(Schema.toCodecJson(PaymentError.Reason))

/** Demands as they arrived are for rails: long, and in a merchant's words. */
const withoutWire = (json: Schema.Json): Schema.Json =>
  Array.isArray(json)
    ? json.map(withoutWire)
    : typeof json === "object" && json !== null
    ? Object.fromEntries(
      Object.entries(json).flatMap(([name, value]) => name === "wire" ? [] : [[name, withoutWire(value)]])
    )
    : json

const isObject = (json: Schema.Json): json is Output.JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json)

/** The members of a reason, without its tag. */
const detailsOf = (reason: PaymentError.Reason): Output.JsonObject => {
  const encoded = withoutWire(encodeReason(reason))
  if (!isObject(encoded)) return {}
  const { _tag, ...details } = encoded
  return details
}

/** Where a request went, without what a query may hide. */
const where = (error: HttpClientError): string => {
  const url = HttpClientRequest.toUrl(error.request)
  return url._tag === "Some" ? url.value.origin + url.value.pathname : "the server"
}

/** The code of a failed system call is worth more than the name of the exception around it. */
const codeOf = (cause: unknown, depth = 0): string | undefined => {
  if (!(cause instanceof Error) || depth > 4) return undefined
  return "code" in cause && typeof cause.code === "string" ? cause.code : codeOf(cause.cause, depth + 1)
}

const httpMessage = (error: HttpClientError): string => {
  const code = codeOf(error.reason.cause)
  const because = code === undefined || !/^[A-Z0-9_]{1,60}$/.test(code) ? "" : ` (${code})`
  switch (error.reason._tag) {
    case "TransportError":
      return code === "UND_ERR_HEADERS_OVERFLOW"
        ? `The answer of ${where(error)} has longer headers than Node reads. ` +
          `Set NODE_OPTIONS=--max-http-header-size=65536 and ask again`
        : `No answer came from ${where(error)}${because}`
    case "InvalidUrlError":
      return `${where(error)} redirects to where it must not be followed`
    case "EncodeError":
      return "The request could not be built"
    default:
      return `The answer of ${where(error)} could not be read${because}`
  }
}

const tellReason = (
  reason: PaymentError.Reason,
  money: PaymentError.Money,
  more: Output.JsonObject,
  message: string
): Told => ({
  status: statusOf({ money, reason }),
  tag: reason._tag,
  message,
  merchantText: "merchantText" in reason ? reason.merchantText : undefined,
  details: { money, ...more, ...detailsOf(reason) }
})

/** A failure that says nothing of the money itself. */
const ofCommand = (exit: number, tag: string, message: string, money: PaymentError.Money): Told => ({
  status: money === "unspent" ? exit : status.undelivered,
  tag,
  message,
  details: { money }
})

const tell = (error: Failure, money: PaymentError.Money): Told => {
  switch (error._tag) {
    case "PaymentError":
      return tellReason(error.reason, error.money, {
        origin: error.origin,
        ...(error.paymentId === undefined ? {} : { paymentId: error.paymentId })
      }, error.message)
    case "HttpClientError":
      return ofCommand(status.failed, error.reason._tag, httpMessage(error), money)
    case "ConfigError":
      return ofCommand(status.usage, "ConfigError", Environment.explain(error), money)
    case "PlatformError":
      return ofCommand(status.failed, error.reason._tag, error.message, money)
    case "Usage":
      return ofCommand(status.usage, "Usage", error.message, money)
    case "Refused":
      return ofCommand(status.refused, "Refused", error.message, money)
    case "Broken": {
      const told = ofCommand(status.failed, "Broken", error.message, money)
      return { ...told, details: { ...told.details, line: error.line } }
    }
    case "Bug":
    case "DemoFailed":
      return ofCommand(status.failed, error._tag, error.message, money)
    case "Interrupted":
      return ofCommand(status.interrupted, "Interrupted", error.message, money)
    default:
      return tellReason(error, money, {}, error.message)
  }
}

/**
 * Tells of a failure, and ends with its status. Unless the failure says it itself, nothing was spent.
 *
 * @category reporting
 * @since 0.1.0
 */
export const failed = Effect.fnUntraced(function*(
  error: Failure,
  json: boolean,
  budget: Output.JsonObject = {},
  money: PaymentError.Money = "unspent"
) {
  const told = tell(error, money)
  const message = Table.clean(told.message)
  yield* Output.note(json ? `${told.tag}: ${message}` : message)
  if (told.merchantText !== undefined && !json) yield* Output.note(Output.merchantSays(told.merchantText))
  if (json) {
    yield* Effect.ignore(Output.printJson({ error: { _tag: told.tag, message, ...told.details }, budget }))
  }
  return yield* new Exited({ status: told.status })
})

/**
 * Tells of a failure together with what the budget looks like now.
 *
 * @category reporting
 * @since 0.1.0
 */
export const failedWithBudget = Effect.fnUntraced(function*(
  error: Failure,
  json: boolean,
  money?: PaymentError.Money
) {
  const budget = yield* Effect.orElseSucceed(Effect.map(Standing.readAgent, Standing.toJson), () => ({}))
  return yield* failed(error, json, budget, money)
})

/**
 * Tells programs that the command was interrupted, unless it has told of something itself.
 *
 * @category reporting
 * @since 0.1.0
 */
export const interrupted = (json: boolean) =>
  Effect.flatMap(
    Effect.flatMap(Output.Told, Ref.get),
    (isTold) => json && !isTold ? Effect.ignore(failed(new Stopped(), json)) : Effect.void
  )

const isExited = (error: Failure | Exited): error is Exited => error._tag === "Exited"

/**
 * Runs what a command does with an agent. Whatever goes wrong is told, and becomes a status.
 *
 * @category reporting
 * @since 0.1.0
 */
export const withAgent = Effect.fnUntraced(function*<A, R>(
  effect: Effect.Effect<A, Failure | Exited, R>,
  agent: Layer.Layer<Agent, Failure>
) {
  const json = yield* Output.Json
  return yield* effect.pipe(
    Effect.catch((error) => isExited(error) ? Effect.fail(error) : failedWithBudget(error, json)),
    Effect.provide(agent),
    Effect.catch((error) => isExited(error) ? Effect.fail(error) : failed(error, json))
  )
})
