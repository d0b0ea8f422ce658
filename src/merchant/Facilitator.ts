/**
 * Who verifies and settles x402 payments for a merchant, of version 1 and 2.
 *
 * {@link layerHttp} asks a remote one; a program can put its own in the same place. A settlement whose outcome is not
 * known is an error of its own, {@link SettlementUnknown}: the money may have moved, so the payment must be settled again
 * or looked up, and never be called failed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Transport from "../Transport.ts"
import * as Json from "../wire/Json.ts"
import * as V1 from "../wire/x402/V1.ts"
import * as V2 from "../wire/x402/V2.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A payment and what it is to pay for: the body of `POST /verify` and `POST /settle`.
 *
 * @category models
 * @since 0.1.0
 */
export const Submission = Schema.Struct({
  x402Version: Schema.Literals([1, 2]),
  /** As it was received, decoded from its header. */
  paymentPayload: Schema.JsonObject,
  /** The merchant's own entry, never the payer's echo of it. */
  paymentRequirements: Schema.JsonObject
})

/**
 * @category models
 * @since 0.1.0
 */
export type Submission = typeof Submission.Type

/**
 * Whether a payment would settle. Optional members that are `null` are absent.
 *
 * @category models
 * @since 0.1.0
 */
export const Verification = Schema.Struct({
  isValid: Schema.Boolean,
  invalidReason: Schema.optionalKey(Schema.String),
  invalidMessage: Schema.optionalKey(Schema.String),
  payer: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Verification = typeof Verification.Type

/**
 * What became of a payment. With `success: false` and the reason `settlement_pending` it is still under way: `transaction`
 * is on its way to the chain.
 *
 * @category models
 * @since 0.1.0
 */
export const Settlement = Schema.Struct({
  success: Schema.Boolean,
  errorReason: Schema.optionalKey(Schema.String),
  errorMessage: Schema.optionalKey(Schema.String),
  payer: Schema.optionalKey(Schema.String),
  /** Empty where there is none. */
  transaction: Schema.String,
  /** CAIP-2, or a name in version 1. */
  network: Schema.String
})

/**
 * @category models
 * @since 0.1.0
 */
export type Settlement = typeof Settlement.Type

/**
 * What a facilitator can settle: the answer to `GET /supported`.
 *
 * @category models
 * @since 0.1.0
 */
export const Supported = Schema.Struct({
  kinds: Schema.Array(Schema.Struct({
    x402Version: Schema.Int,
    scheme: Schema.String,
    network: Schema.String,
    extra: Schema.optionalKey(Schema.JsonObject)
  })),
  extensions: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Addresses that settle, by a pattern of networks such as `eip155:*`. */
  signers: Schema.optionalKey(Schema.Record(Schema.String, Schema.Array(Schema.String)))
})

/**
 * @category models
 * @since 0.1.0
 */
export type Supported = typeof Supported.Type

// ---------------------------------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The facilitator could not be asked, or its answer cannot be read. Nothing was settled.
 *
 * @category errors
 * @since 0.1.0
 */
export class FacilitatorUnavailable extends Schema.TaggedError<FacilitatorUnavailable>()("FacilitatorUnavailable", {
  operation: Schema.Literals(["verify", "settle", "supported", "configuration"]),
  detail: Schema.String
}) {
  override get message() {
    return `The facilitator is not available (${this.operation}: ${this.detail}). Nothing was settled`
  }
}

/**
 * The facilitator was asked to settle, and whether it did is not known. Settling the same payment again is safe: the chain
 * takes it at most once.
 *
 * @category errors
 * @since 0.1.0
 */
export class SettlementUnknown extends Schema.TaggedError<SettlementUnknown>()("SettlementUnknown", {
  detail: Schema.String
}) {
  override get message() {
    return `Whether the payment was settled is not known: ${this.detail}. Settle the same payment again to find out`
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @category services
 * @since 0.1.0
 */
export class Facilitator extends Context.Service<Facilitator, {
  readonly verify: (submission: Submission) => Effect.Effect<Verification, FacilitatorUnavailable>
  /** The same payment may be settled again: what was settled before is not taken twice. */
  readonly settle: (submission: Submission) => Effect.Effect<Settlement, FacilitatorUnavailable | SettlementUnknown>
  readonly supported: Effect.Effect<Supported, FacilitatorUnavailable>
}>()("effect-mpp/merchant/Facilitator") {}

/**
 * A payment of version 1 for an entry of the merchant.
 *
 * @category constructors
 * @since 0.1.0
 */
export const submissionV1 = (payment: V1.Payment, requirement: V1.Requirement): Submission => ({
  x402Version: 1,
  paymentPayload: { ...payment },
  paymentRequirements: encodeV1(requirement)
})

/**
 * A payment of version 2 for an entry of the merchant.
 *
 * @category constructors
 * @since 0.1.0
 */
export const submissionV2 = (payment: V2.Payment, requirement: V2.Requirement): Submission => ({
  x402Version: 2,
  paymentPayload: { ...payment },
  paymentRequirements: encodeV2(requirement)
})

const encodeV1 = Schema.encodeSync(V1.Requirement)
const encodeV2 = Schema.encodeSync(V2.Requirement)

// ---------------------------------------------------------------------------------------------------------------------
// Over HTTP
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @category models
 * @since 0.1.0
 */
export interface HttpOptions {
  /** The facilitator's base: `https://x402.org/facilitator`. Plain http only on this machine. */
  readonly url: string
  /** The value of the `Authorization` header of a request, where the facilitator wants one. */
  readonly authorize?:
    | ((operation: "verify" | "settle" | "supported") => Effect.Effect<Redacted.Redacted<string>>)
    | undefined
  /** For how long to wait for an answer to `verify` and `supported` (default 10 seconds). */
  readonly timeout?: Duration.Input | undefined
  /** For how long to wait for a settlement (default 90 seconds). */
  readonly settleTimeout?: Duration.Input | undefined
}

/** Why there is no answer to use, and whether the request can have had an effect all the same. */
interface Failure {
  readonly detail: string
  readonly mayHaveHappened: boolean
}

const makeHttp = Effect.fnUntraced(function*(options: HttpOptions) {
  const client = yield* Transport.Transport
  if (!Transport.isSecure(options.url)) {
    return yield* new FacilitatorUnavailable({
      operation: "configuration",
      detail: "its URL must be https, or http on this machine"
    })
  }
  const base = options.url.replace(/\/+$/, "")
  const timeout = options.timeout ?? "10 seconds"

  const authorized = Effect.fnUntraced(function*(
    operation: "verify" | "settle" | "supported",
    request: HttpClientRequest.HttpClientRequest
  ) {
    if (options.authorize === undefined) return request
    const value = yield* options.authorize(operation)
    return HttpClientRequest.setHeader(request, "authorization", Redacted.value(value))
  })

  // A refusal comes with any status; what counts is whether the body is an answer.
  const ask = <A, E>(
    operation: "verify" | "settle" | "supported",
    schema: Schema.Codec<A, E>,
    unsigned: HttpClientRequest.HttpClientRequest,
    duration: Duration.Input
  ): Effect.Effect<A, Failure> => {
    const decode = Json.decoder(schema)
    const lost = (detail: string): Failure => ({ detail, mayHaveHappened: true })
    return Effect.gen(function*() {
      const request = yield* authorized(operation, unsigned)
      const response = yield* Effect.mapError(
        client.execute(request),
        (error): Failure => ({ detail: "it did not answer", mayHaveHappened: !Transport.isNotSent(error) })
      )
      const text = yield* Effect.mapError(
        Transport.readText(response, Json.maxBodyLength),
        () => lost("its answer broke off")
      )
      const { status } = response
      const answer = Option.flatMap(Option.flatMap(text, Json.parseObject), (json) => Result.getSuccess(decode(json)))
      if (Option.isSome(answer)) return answer.value
      return yield* Effect.fail<Failure>({
        detail: `HTTP ${status} without an answer that can be read`,
        mayHaveHappened: !(status >= 400 && status < 500 && status !== 408)
      })
    }).pipe(
      Effect.timeoutOrElse({ duration, orElse: () => Effect.fail(lost("it did not answer in time")) })
    )
  }

  const post = (path: string, submission: Submission) =>
    HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(`${base}/${path}`), submission)

  const unavailable = (operation: "verify" | "settle" | "supported") => ({ detail }: Failure) =>
    new FacilitatorUnavailable({ operation, detail })

  return Facilitator.of({
    verify: Effect.fn("Facilitator.verify")((submission) =>
      Effect.mapError(ask("verify", Verification, post("verify", submission), timeout), unavailable("verify"))
    ),
    settle: Effect.fn("Facilitator.settle")((submission) =>
      Effect.mapError(
        ask("settle", Settlement, post("settle", submission), options.settleTimeout ?? "90 seconds"),
        (failure) =>
          failure.mayHaveHappened
            ? new SettlementUnknown({ detail: failure.detail })
            : unavailable("settle")(failure)
      )
    ),
    supported: Effect.mapError(
      ask("supported", Supported, HttpClientRequest.get(`${base}/supported`), timeout),
      unavailable("supported")
    ).pipe(Effect.withSpan("Facilitator.supported"))
  })
})

/**
 * A facilitator that is asked over HTTP. Fails if its URL is neither https nor on this machine.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerHttp = (
  options: HttpOptions
): Layer.Layer<Facilitator, FacilitatorUnavailable, Transport.Transport> => Layer.effect(Facilitator, makeHttp(options))

// ---------------------------------------------------------------------------------------------------------------------
// As a server
// ---------------------------------------------------------------------------------------------------------------------

const submitted = HttpServerRequest.schemaBodyJson(Submission)
const verification = HttpServerResponse.schemaJson(Verification)
const settlement = HttpServerResponse.schemaJson(Settlement)
const supported = HttpServerResponse.schemaJson(Supported)

const failedWith = (status: number) => ({ message }: { readonly message: string }) =>
  Effect.succeed(HttpServerResponse.jsonUnsafe({ error: message }, { status }))

const malformed = failedWith(400)

const answered = <E extends { readonly _tag: string; readonly message: string }, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) =>
  Effect.catch(handler, (error) => {
    switch (error._tag) {
      case "FacilitatorUnavailable":
        return failedWith(503)(error)
      case "SettlementUnknown":
        return failedWith(504)(error)
      default:
        return malformed({ message: "The request is no submission" })
    }
  })

/**
 * The facilitator of the program over HTTP: `POST /verify`, `POST /settle` and `GET /supported`, for merchants that are not
 * of this library.
 *
 * @category layers
 * @since 0.1.0
 */
export const routes = HttpRouter.addAll([
  HttpRouter.route(
    "POST",
    "/verify",
    answered(Effect.gen(function*() {
      const { verify } = yield* Facilitator
      return yield* verification(yield* verify(yield* submitted))
    }))
  ),
  HttpRouter.route(
    "POST",
    "/settle",
    answered(Effect.gen(function*() {
      const { settle } = yield* Facilitator
      return yield* settlement(yield* settle(yield* submitted))
    }))
  ),
  HttpRouter.route(
    "GET",
    "/supported",
    answered(Effect.gen(function*() {
      const facilitator = yield* Facilitator
      return yield* supported(yield* facilitator.supported)
    }))
  )
])
