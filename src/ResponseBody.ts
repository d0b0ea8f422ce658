/**
 * Two ways to hold a response body that is not ours: to look at its beginning and hand it on whole, and to watch how it
 * ends.
 *
 * A purchase is delivered when its body was read to its end, not when its headers arrived.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Inspectable from "effect/Inspectable"
import { pipeArguments } from "effect/Pipeable"
import * as Pull from "effect/Pull"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

type Response = HttpClientResponse.HttpClientResponse
type HttpError = HttpClientError.HttpClientError

/**
 * How a body ended: read to its end (or given up by a caller who had begun to read), or cut.
 *
 * @category models
 * @since 0.1.0
 */
export type End = "complete" | "broken"

const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0))
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.length
  }
  return whole
}

const decodeError = (response: Response, cause: unknown) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.DecodeError({ request: response.request, response, cause })
  })

/** The same response with another body stream; every other way to read it goes through that stream. */
const withStream = (response: Response, stream: Stream.Stream<Uint8Array, HttpError>): Response => {
  const bytes = Effect.map(Stream.runCollect(stream), concat)
  const text = Effect.map(bytes, (body) => new TextDecoder().decode(body))
  const json = Effect.flatMap(text, (body) =>
    Effect.try({
      try: (): Schema.Json => body === "" ? null : JSON.parse(body),
      catch: (cause) => decodeError(response, cause)
    }))
  return Object.create(response, {
    stream: { value: stream },
    arrayBuffer: { value: Effect.map(bytes, (body) => body.buffer) },
    text: { value: text },
    json: { value: json }
  })
}

/**
 * Reads at most `cap` bytes of a body, and hands back the text together with a response whose body is whole again.
 *
 * **Details**
 *
 * A body that is longer than the cap gives no text: a demand of that size is not looked at. A body that breaks while it is
 * looked at breaks again for whoever reads the response that is handed back: at the same place, or at its beginning if it
 * says how long it is and is read as a whole.
 *
 * @category combinators
 * @since 0.1.0
 */
export const peek = Effect.fnUntraced(function*(
  response: Response,
  cap: number
): Effect.fn.Return<{ readonly text: string | undefined; readonly response: Response }> {
  if (isKnownToFit(response.headers, cap)) {
    const read = yield* Effect.exit(response.arrayBuffer)
    return Exit.isSuccess(read)
      ? {
        text: new TextDecoder().decode(read.value),
        response: withStream(response, Stream.succeed(new Uint8Array(read.value)))
      }
      : { text: undefined, response: withStream(response, Stream.failCause(read.cause)) }
  }
  const scope = yield* Scope.make()
  const pull = yield* Scope.provide(Stream.toPull(response.stream), scope)
  const chunks: Array<Uint8Array> = []
  let size = 0
  let rest: Stream.Stream<Uint8Array, HttpError> | undefined
  while (rest === undefined) {
    const next = yield* Effect.exit(pull)
    if (Exit.isSuccess(next)) {
      for (const chunk of next.value) {
        chunks.push(chunk)
        size += chunk.length
      }
      if (size > cap) rest = Stream.ensuring(Stream.fromPull(Effect.succeed(pull)), Scope.close(scope, Exit.void))
    } else {
      yield* Scope.close(scope, Exit.void)
      rest = Pull.isDoneCause(next.cause)
        ? Stream.empty
        : isEmptyBody(next.cause)
        ? Stream.empty
        : Stream.failCause(next.cause as Cause.Cause<HttpError>)
      size = Pull.isDoneCause(next.cause) || isEmptyBody(next.cause) ? size : Number.POSITIVE_INFINITY
    }
  }
  return {
    text: size > cap ? undefined : new TextDecoder().decode(concat(chunks)),
    response: withStream(response, Stream.concat(Stream.fromIterable(chunks), rest))
  }
})

/** The length of what is encoded says nothing of what it decodes to. */
const isKnownToFit = (headers: Readonly<Record<string, string | undefined>>, cap: number): boolean => {
  const length = headers["content-length"]
  return length !== undefined && headers["content-encoding"] === undefined && Number(length) <= cap
}

const isEmptyBody = (cause: Cause.Cause<unknown>): boolean => {
  const error = Cause.squash(cause)
  return HttpClientError.isHttpClientError(error) && error.reason._tag === "EmptyBodyError"
}

/**
 * A response whose body is watched: however it is read, `done` runs once with how it ended. It carries the caller's own
 * request, and so do its errors.
 *
 * @category models
 * @since 0.1.0
 */
export class Watched extends Inspectable.Class implements Response {
  readonly [HttpClientResponse.TypeId] = HttpClientResponse.TypeId
  readonly [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId
  readonly request: HttpClientRequest.HttpClientRequest
  private readonly original: Response
  private readonly done: (end: End) => Effect.Effect<void>
  private finished = false

  constructor(
    original: Response,
    request: HttpClientRequest.HttpClientRequest,
    done: (end: End) => Effect.Effect<void>
  ) {
    super()
    this.original = original
    this.request = request
    this.done = done
  }

  get status() {
    return this.original.status
  }

  get url() {
    return this.original.url
  }

  get headers() {
    return this.original.headers
  }

  get cookies() {
    return this.original.cookies
  }

  get remoteAddress() {
    return this.original.remoteAddress
  }

  get text() {
    return this.watched(this.original.text)
  }

  get json() {
    return this.watched(this.original.json)
  }

  get arrayBuffer() {
    return this.watched(this.original.arrayBuffer)
  }

  get urlParamsBody() {
    return this.watched(this.original.urlParamsBody)
  }

  get formData() {
    return this.watched(this.original.formData)
  }

  get upgrade() {
    return this.watched(this.original.upgrade)
  }

  get stream() {
    return this.original.stream.pipe(
      Stream.mapError((error) => this.about(error)),
      // A stream that its reader gives up has been begun: it was delivered as far as it was wanted.
      Stream.onExit((exit) => this.end(Exit.hasInterrupts(exit) ? Exit.void : exit))
    )
  }

  private watched<A>(read: Effect.Effect<A, HttpError>): Effect.Effect<A, HttpError> {
    return read.pipe(Effect.mapError((error) => this.about(error)), Effect.onExit((exit) => this.end(exit)))
  }

  private about(error: HttpError): HttpError {
    return withRequest(error, this.request, this)
  }

  private end(exit: Exit.Exit<unknown, HttpError>): Effect.Effect<void> {
    if (this.finished) return Effect.void
    this.finished = true
    return this.done(Exit.isFailure(exit) && isCut(exit.cause) ? "broken" : "complete")
  }

  pipe() {
    return pipeArguments(this, arguments)
  }

  toJSON(): unknown {
    return Object.assign({}, this.original.toJSON(), { request: this.request.toJSON() })
  }
}

/**
 * Watches how a body ends: `done` runs once, when the body was read to its end, was given up, or broke. The response that
 * is handed back carries `request`, so that nothing that was attached for payment can be read from it or from its errors.
 *
 * @category combinators
 * @since 0.1.0
 */
export const watch = (
  response: Response,
  request: HttpClientRequest.HttpClientRequest,
  done: (end: End) => Effect.Effect<void>
): Response => new Watched(response, request, done)

/**
 * A body that arrived whole and is not what the reader hoped for (no JSON) was delivered all the same. One whose reader was
 * interrupted was not: a time-out is the usual reason, and what follows it is a retry.
 */
const isCut = (cause: Cause.Cause<HttpError>): boolean => {
  const error = Cause.squash(cause)
  if (!HttpClientError.isHttpClientError(error)) return true
  if (error.reason._tag === "EmptyBodyError") return false
  return !(error.reason._tag === "DecodeError" && error.reason.cause instanceof SyntaxError)
}

/**
 * The same error about the caller's own request instead of the one that carried a credential.
 *
 * @category mapping
 * @since 0.1.0
 */
export const withRequest = (
  error: HttpError,
  request: HttpClientRequest.HttpClientRequest,
  response?: Response
): HttpError => {
  const { reason } = error
  const about = {
    request,
    cause: reason.cause,
    ...(reason.description === undefined ? {} : { description: reason.description })
  }
  switch (reason._tag) {
    case "TransportError":
      return new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError(about) })
    case "EncodeError":
      return new HttpClientError.HttpClientError({ reason: new HttpClientError.EncodeError(about) })
    case "InvalidUrlError":
      return new HttpClientError.HttpClientError({ reason: new HttpClientError.InvalidUrlError(about) })
    default: {
      const seen: Response = response ?? Object.create(reason.response, { request: { value: request } })
      const Reason = HttpClientError[reason._tag]
      return new HttpClientError.HttpClientError({ reason: new Reason({ ...about, response: seen }) })
    }
  }
}
