/**
 * The client that never pays: the only thing in the library that asks for `HttpClient`. Session endpoints, RPC nodes,
 * registries and probes use it, and so does the paying client for each of its legs.
 *
 * It follows no redirect by itself, it names the headers that must not be printed, and whatever it is built on, nothing is
 * paid while it sends.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Watched, withRequest } from "./ResponseBody.ts"
import * as Sent from "./Sent.ts"

export {
  /**
   * @category guards
   * @since 0.1.0
   */
  isNotSent
} from "./Sent.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse
type HttpError = HttpClientError.HttpClientError

/**
 * @category services
 * @since 0.1.0
 */
export class Transport extends Context.Service<Transport, HttpClient.HttpClient>()("effect-mpp/Transport") {}

/**
 * True in a fiber whose requests must not be paid for. The transport sets it around everything that it sends, and a
 * paying client that reads it passes the request through untouched, however deep it is wrapped.
 *
 * @category references
 * @since 0.1.0
 */
export const Unpaid: Context.Reference<boolean> = Context.Reference<boolean>("effect-mpp/Transport/Unpaid", {
  defaultValue: () => false
})

const sendsThrough = Symbol("effect-mpp/Transport/sendsThrough")

interface Paying {
  readonly [sendsThrough]?: HttpClient.HttpClient
}

/**
 * Marks a client that pays, with the one that it sends through. A transport that is built on a marked client is built on
 * what lies below it, so that the wiring that comes first to mind, probes over the program's paying client, does not pay.
 * A client derived from it is not recognised, and does not pay below a transport all the same: see {@link Unpaid}.
 *
 * @category guards
 * @since 0.1.0
 */
export const markPaying = <Client extends object>(client: Client, through: HttpClient.HttpClient): Client =>
  Object.defineProperty(client, sendsThrough, { value: through, configurable: true })

/**
 * Names of the headers that can carry a credential, a receipt or a demand. They are redacted in spans, and wherever headers
 * are printed while a request is under way.
 *
 * @category constants
 * @since 0.1.0
 */
export const redactedHeaders: ReadonlyArray<string> = [
  ...Sent.credentialHeaders,
  "authorization",
  "proxy-authorization",
  "payment-receipt",
  "payment-required",
  "payment-response",
  "payment-session",
  "payment-session-snapshot",
  "www-authenticate",
  "x-payment-response"
]

/**
 * Names of the query parameters that are redacted in spans and messages, beside those that the program names.
 *
 * @category constants
 * @since 0.1.0
 */
export const redactedParameters: ReadonlyArray<string | RegExp> = [
  "access_token",
  /^api[-_]?key$/i,
  "auth",
  "key",
  "password",
  "secret",
  "session",
  "token"
]

/** The lists of a fiber rarely change, so one extended copy of each is enough. */
const extending = (additional: ReadonlyArray<string | RegExp>) => {
  const copies = new WeakMap<ReadonlyArray<string | RegExp>, ReadonlyArray<string | RegExp>>()
  return (names: ReadonlyArray<string | RegExp>): ReadonlyArray<string | RegExp> => {
    let copy = copies.get(names)
    if (copy === undefined) {
      copy = [...names, ...additional]
      copies.set(names, copy).set(copy, copy)
    }
    return copy
  }
}

const withRedactedHeaders = extending(redactedHeaders)
const withRedactedParameters = extending(redactedParameters)

/** The request without what we attached to it; the same one if that is nothing. */
const withoutCredential = (request: Request): Request => {
  const credentials = Sent.credentialsOf(request.headers)
  return credentials.length === 0 ? request : HttpClientRequest.updateHeaders(request, Headers.removeMany(credentials))
}

/** A hook may let an error through that is not of the HTTP client. It is not kept: it could hold the request. */
const foreign = (error: unknown, request: Request): HttpError =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      description: `the client below failed with ${error instanceof Error ? error.name : "an unknown error"}`
    })
  })

/** Errors and responses outlive the request, and are printed by fibers that know nothing of our redaction. */
const sealError = (failure: unknown, sent: Request): HttpError => {
  const error = HttpClientError.isHttpClientError(failure) ? failure : foreign(failure, sent)
  const known = Sent.afterHops(error, sent)
  const request = withoutCredential(known.request)
  return request === known.request ? known : withRequest(known, request)
}

class Sealed extends Watched {
  override toJSON(): unknown {
    const headers = Headers.redact(this.headers, [...redactedHeaders, "set-cookie"])
    return { _id: "HttpClientResponse", request: this.request.toJSON(), status: this.status, headers }
  }
}

const sealResponse = (response: Response, sent: Request): Response => {
  const request = withoutCredential(sent)
  return request === sent ? response : new Sealed(response, request, () => Effect.void)
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Members of `fetch`'s `RequestInit` for every request; those of the calling fiber win. */
  readonly requestInit?: globalThis.RequestInit | undefined
  /**
   * A program's own hook below payment: proxies, timeouts, logging, and retries of what carries no credential, or was not
   * sent because its connection was refused. A request with a credential that may have left is never attempted again,
   * whatever the hook does: it comes to the earlier answer, or the earlier failure.
   */
  readonly transformClient?: ((client: HttpClient.HttpClient) => HttpClient.HttpClient) | undefined
}

const withManualRedirect = (
  base: globalThis.RequestInit | undefined,
  own: globalThis.RequestInit | undefined
): globalThis.RequestInit => {
  const redirect = own?.redirect ?? base?.redirect
  return { ...base, ...own, redirect: redirect === "error" ? "error" : "manual" }
}

/**
 * The transport over a client.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (client: HttpClient.HttpClient, options: Options = {}): HttpClient.HttpClient => {
  const { requestInit, transformClient } = options
  const unpaying = (client as HttpClient.HttpClient & Paying)[sendsThrough] ?? client
  const self = transformClient === undefined ? unpaying : Sent.transformOnce(unpaying, transformClient)
  const plainInit = withManualRedirect(requestInit, undefined)

  const prepare = (context: Context.Context<never>): Context.Context<never> => {
    const own = Context.getOrUndefined(context, FetchHttpClient.RequestInit)
    const headers = Context.get(context, Headers.CurrentRedactedNames)
    const parameters = Context.get(context, UrlParams.CurrentRedactedNames)
    return context.pipe(
      Context.add(FetchHttpClient.RequestInit, own === undefined ? plainInit : withManualRedirect(requestInit, own)),
      Context.add(Headers.CurrentRedactedNames, withRedactedHeaders(headers)),
      Context.add(UrlParams.CurrentRedactedNames, withRedactedParameters(parameters)),
      Context.add(Unpaid, true)
    )
  }

  return HttpClient.makeWith(
    Effect.flatMap((request) =>
      self.postprocess(Effect.succeed(request)).pipe(
        Effect.matchEffect({
          onFailure: (error) => Effect.fail(sealError(error, request)),
          onSuccess: (response) => Effect.succeed(sealResponse(response, request))
        }),
        Effect.updateContext(prepare)
      )
    ),
    self.preprocess
  )
}

/**
 * The transport over the program's `HttpClient`.
 *
 * **Gotchas**
 *
 * A `RequestInit` that was given to `FetchHttpClient.layer` alone cannot be seen from here and is hidden by the one that
 * the transport sets: pass it as `requestInit`, or provide it to the program.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options = {}): Layer.Layer<Transport, never, HttpClient.HttpClient> =>
  Layer.effect(
    Transport,
    Effect.gen(function*() {
      const client = yield* HttpClient.HttpClient
      const around = yield* Effect.serviceOption(FetchHttpClient.RequestInit)
      return make(client, { ...options, requestInit: { ...Option.getOrUndefined(around), ...options.requestInit } })
    })
  )

/**
 * {@link layerWith} without options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Transport, never, HttpClient.HttpClient> = layerWith()

/**
 * The largest body that a side request reads, in bytes: 256 KiB.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBodyBytes = 256 * 1024

/**
 * Reads a body as text and stops at the cap: `None` if there is more. What is left is not read, and the connection is
 * given up.
 *
 * @category combinators
 * @since 0.1.0
 */
export const readText = (
  response: Response,
  maxBytes: number = maxBodyBytes
): Effect.Effect<Option.Option<string>, HttpError> =>
  Effect.suspend(() => {
    const decoder = new TextDecoder()
    let text = ""
    let size = 0
    return Stream.runForEachWhile(response.stream, (chunk) =>
      Effect.sync(() => {
        size += chunk.length
        if (size > maxBytes) return false
        text += decoder.decode(chunk, { stream: true })
        return true
      })).pipe(
        Effect.catchIf((error) => error.reason._tag === "EmptyBodyError", () => Effect.void),
        Effect.map(() => size > maxBytes ? Option.none() : Option.some(text + decoder.decode()))
      )
  })

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/**
 * Whether a URL names this machine by a literal: `127.0.0.0/8`, `[::1]` or `localhost`. Other names that resolve to it do
 * not count.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLoopback = (url: URL): boolean => loopback.test(url.hostname)

/**
 * Whether a secret may travel to a URL: over https, or over http on this machine.
 *
 * **Example** (Where a credential may go)
 *
 * ```ts
 * import * as Transport from "effect-mpp/Transport"
 *
 * Transport.isSecure("https://api.example.com/data") // => true
 * Transport.isSecure("http://127.0.0.1:4021/data") // => true
 * Transport.isSecure("http://api.example.com/data") // => false
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isSecure = (url: string | URL): boolean => {
  const parsed = URL.parse(String(url))
  return parsed !== null && (parsed.protocol === "https:" || (parsed.protocol === "http:" && isLoopback(parsed)))
}
