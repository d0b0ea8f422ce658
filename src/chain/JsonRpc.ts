/**
 * JSON-RPC over HTTP: one question to one node, answered in a form that was checked.
 *
 * What a node answers is capped in size and decoded. Errors never name a node's URL, which is often a secret.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { readText } from "../Transport.ts"

/** Receipts of batched transactions are long; anything longer than this is not read. */
const maxAnswerBytes = 1024 * 1024

const timeout = Duration.seconds(10)

const backoff = Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 3 }))

/**
 * Why a call failed, before it is known which operation it was part of.
 *
 * @category errors
 * @since 0.1.0
 */
export class RpcFailure extends Data.TaggedError("RpcFailure")<{
  readonly detail: string
  /** Asking again may help. */
  readonly transient: boolean
  /** The code of a JSON-RPC error. */
  readonly code?: number
}> {}

/**
 * A failure that asking again does not help.
 *
 * @category errors
 * @since 0.1.0
 */
export const malformed = (detail: string): RpcFailure => new RpcFailure({ detail, transient: false })

/**
 * Asks a node, and reads the result.
 *
 * @category models
 * @since 0.1.0
 */
export type Ask = <A, I>(
  method: string,
  params: ReadonlyArray<unknown>,
  schema: Schema.Codec<A, I>
) => Effect.Effect<A, RpcFailure>

const Answer = Schema.fromJsonString(Schema.Struct({
  result: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(Schema.NullOr(Schema.Struct({ code: Schema.Int })))
}))

const decodeAnswer = Schema.decodeUnknownEffect(Answer)

/** `limit exceeded`, of EIP-1474. */
const rateLimited = -32005

/**
 * How a node is asked. What may pass is asked again, and nothing is waited for longer than ten seconds.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (client: HttpClient.HttpClient, network: string, url: string): Ask => {
  const send = Effect.fnUntraced(function*(method: string, params: ReadonlyArray<unknown>) {
    const request = HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), {
      jsonrpc: "2.0",
      id: 1,
      method,
      params
    })
    const unreachable = () => new RpcFailure({ detail: "the node did not answer", transient: true })
    const response = yield* Effect.mapError(client.execute(request), unreachable)
    const { status } = response
    if (status === 429 || status >= 500) return yield* new RpcFailure({ detail: `HTTP ${status}`, transient: true })
    // nodes give JSON-RPC errors a status of 4xx at times
    const text = yield* Effect.mapError(readText(response, maxAnswerBytes), unreachable)
    if (Option.isNone(text)) return yield* malformed("the answer is too long")
    const { error, result } = yield* Effect.mapError(
      decodeAnswer(text.value),
      () => malformed(status >= 300 ? `HTTP ${status}` : "the answer is not JSON-RPC")
    )
    if (error === undefined || error === null) return result
    return yield* new RpcFailure({
      detail: `JSON-RPC error ${error.code}`,
      transient: error.code === rateLimited,
      code: error.code
    })
  })

  // The HTTP client's own span would hold the URL, and with it the node's key.
  return (method, params, schema) =>
    send(method, params).pipe(
      Effect.retry({ schedule: backoff, while: (failure) => failure.transient }),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new RpcFailure({ detail: "the node did not answer in time", transient: false }))
      }),
      Effect.flatMap((result) =>
        Effect.mapError(
          Schema.decodeUnknownEffect(schema)(result),
          () => malformed("the answer is not of the expected form")
        )
      ),
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
      Effect.withSpan(`Chain.${method}`, { kind: "client", attributes: { "mpp.network": network } })
    )
}
