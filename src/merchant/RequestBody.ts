/**
 * The body of a request that is sold to: read to know its digest, and still there for the handler.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import { MaxBodySize } from "effect/http/HttpIncomingMessage"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/**
 * The longest body whose digest a challenge is bound to, in bytes: 1 MiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBytes = 1024 * 1024

/**
 * @category models
 * @since 0.1.0
 */
export interface RequestBody {
  /** The body; none where there is none, where it is a form of several parts, and where it is longer than that. */
  readonly bytes: Effect.Effect<Option.Option<Uint8Array>>
  /** Runs a handler so that it finds the body, whether or not it was read here. */
  readonly after: <A, E, R>(handler: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Forms of several parts are read from the connection itself, and would be gone. */
const isOfParts = ({ headers }: HttpServerRequest) => /^multipart\//i.test(headers["content-type"] ?? "")

/** A body that was read once cannot be streamed again. */
const replaying = (request: HttpServerRequest, bytes: Uint8Array): HttpServerRequest =>
  Object.create(request, { stream: { get: () => Stream.succeed(bytes) } })

/**
 * Nothing is read before it is asked for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(request: HttpServerRequest): Effect.fn.Return<RequestBody> {
  let read: Uint8Array | undefined
  const readIt = Effect.map(request.arrayBuffer, (buffer) => {
    read = buffer.byteLength === 0 ? undefined : new Uint8Array(buffer)
    return Option.fromUndefinedOr(read)
  }).pipe(
    Effect.provideService(MaxBodySize, ByteSize.fromInputUnsafe(maxBytes)),
    Effect.catch(() => Effect.succeedNone)
  )
  return {
    bytes: yield* Effect.cached(isOfParts(request) ? Effect.succeedNone : readIt),
    after: (handler) =>
      Effect.suspend(() =>
        read === undefined
          ? handler
          : Effect.provideService(handler, HttpServerRequest, replaying(request, read))
      )
  }
})
