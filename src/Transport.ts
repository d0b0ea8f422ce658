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

const below = new WeakMap<object, HttpClient.HttpClient>()

/**
 * Marks a client that pays, with the one that it sends through. A transport that is built on a marked client is built on
 * what lies below it, so that the wiring that comes first to mind, probes over the program's paying client, does not pay.
 *
 * @category guards
 * @since 0.1.0
 */
export const markPaying = <Client extends object>(client: Client, sendsThrough: HttpClient.HttpClient): Client => {
  below.set(client, sendsThrough)
  return client
}

/**
 * Whether a client was marked as one that pays. A client derived from it is not recognised, and does not pay below a
 * transport all the same: see {@link Unpaid}.
 *
 * @category guards
 * @since 0.1.0
 */
export const isPaying = (client: object): boolean => below.has(client)

/** Headers whose value alone can move money, or log in as us. */
const credentialHeaders: ReadonlyArray<string> = [
  "payment-authorization",
  "payment-signature",
  "x-payment",
  "sign-in-with-x"
]

/**
 * Names of the headers that can carry a credential, a receipt or a demand. They are redacted in spans, and wherever headers
 * are printed while a request is under way.
 *
 * @category constants
 * @since 0.1.0
 */
export const redactedHeaders: ReadonlyArray<string> = [
  ...credentialHeaders,
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

const isCredential = (headers: Headers.Headers, name: string): boolean =>
  name === "authorization" ? /^payment\s/i.test(headers[name] ?? "") : credentialHeaders.includes(name)

/** The request without what we attached to it; the same one if that is nothing. */
const withoutCredential = (request: Request): Request => {
  const credentials = Object.keys(request.headers).filter((name) => isCredential(request.headers, name))
  return credentials.length === 0 ? request : HttpClientRequest.updateHeaders(request, Headers.removeMany(credentials))
}

/** Errors and responses outlive the request, and are printed by fibers that know nothing of our redaction. */
const sealError = (error: HttpError): HttpError => {
  const request = withoutCredential(error.request)
  return request === error.request ? error : withRequest(error, request)
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

/** The name did not resolve. */
const unresolved: ReadonlySet<string> = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME"])

/** No connection came about: proof only of the system call `connect`, since an open one can break with some of them. */
const unconnected: ReadonlySet<string> = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"])

/**
 * We refused the server's certificate, and ended the handshake. Other errors of TLS are no proof: a server can cause each
 * of them, alerts included, after it has read the request.
 */
const untrusted =
  /^(?:CERT_[A-Z_]+|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT(?:_IN_CHAIN)?|UNABLE_TO_(?:GET_ISSUER_CERT(?:_LOCALLY)?|VERIFY_LEAF_SIGNATURE)|HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|ERR_TLS_CERT_ALTNAME_INVALID)$/

/** Causes of failures that came after another attempt, or another hop, may already have carried the request out. */
const leftBefore = new WeakSet<object>()

const provesNotSent = (cause: unknown, depth: number): boolean => {
  if (depth > 8 || typeof cause !== "object" || cause === null || leftBefore.has(cause)) return false
  // one failure for each address of the host: all of them must be proof
  if ("errors" in cause && Array.isArray(cause.errors) && cause.errors.length > 0) {
    return cause.errors.every((error) => provesNotSent(error, depth + 1))
  }
  if ("code" in cause && typeof cause.code === "string") {
    const isConnect = "syscall" in cause && cause.syscall === "connect"
    return unresolved.has(cause.code) || untrusted.test(cause.code) || (isConnect && unconnected.has(cause.code))
  }
  return "cause" in cause && provesNotSent(cause.cause, depth + 1)
}

/**
 * Whether a failure proves that nothing of its request left this process.
 *
 * **Details**
 *
 * Proof is a name that did not resolve, a refused connection, an unreachable host and a certificate that we refused, as
 * `fetch` and `node:http` of Node report them, and a URL that is none. A reset, a broken pipe and a timeout are no proof;
 * neither is anything that a browser says.
 *
 * **Gotchas**
 *
 * A program's own `HttpClient` must not retry by itself: its last failure says nothing of the attempts before. Retries
 * belong into `transformClient` of {@link layerWith}, where each attempt is seen.
 *
 * @category guards
 * @since 0.1.0
 */
export const isNotSent = (error: unknown): boolean => {
  if (!HttpClientError.isHttpClientError(error)) return false
  switch (error.reason._tag) {
    case "InvalidUrlError":
      return true
    case "TransportError":
      return provesNotSent(error.reason.cause, 0)
    default:
      return false
  }
}

interface Attempts {
  left: boolean
}

const Attempts = Context.Reference<Attempts>("effect-mpp/Transport/Attempts", {
  defaultValue: () => ({ left: false })
})

/** Notes of each attempt below the program's own transformation whether it may have left. */
const countAttempts = (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.transformResponse(
    client,
    (attempt) =>
      Effect.flatMap(Attempts, (attempts) =>
        Effect.onExit(attempt, (exit) =>
          Effect.sync(() => {
            attempts.left ||= exit._tag === "Success" ||
              !exit.cause.reasons.every((reason) => reason._tag === "Fail" && isNotSent(reason.error))
          })))
  )

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Members of `fetch`'s `RequestInit` for every request; those of the calling fiber win. */
  readonly requestInit?: globalThis.RequestInit | undefined
  /** A program's own hook below payment: retries of single sends, proxies, timeouts, logging. */
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
  const unpaying = below.get(client) ?? client
  const self = transformClient === undefined ? unpaying : transformClient(countAttempts(unpaying))
  const plainInit = withManualRedirect(requestInit, undefined)

  const prepare = (context: Context.Context<never>): Context.Context<never> => {
    const own = Context.getOrUndefined(context, FetchHttpClient.RequestInit)
    const headers = Context.get(context, Headers.CurrentRedactedNames)
    const parameters = Context.get(context, UrlParams.CurrentRedactedNames)
    const prepared = context.pipe(
      Context.add(FetchHttpClient.RequestInit, own === undefined ? plainInit : withManualRedirect(requestInit, own)),
      Context.add(Headers.CurrentRedactedNames, withRedactedHeaders(headers)),
      Context.add(UrlParams.CurrentRedactedNames, withRedactedParameters(parameters)),
      Context.add(Unpaid, true)
    )
    return transformClient === undefined ? prepared : Context.add(prepared, Attempts, { left: false })
  }

  const failed = (error: HttpError, request: Request): Effect.Effect<never, HttpError> =>
    Effect.map(Attempts, (attempts) => {
      // a client that follows redirects reports the URL of its last hop
      const { cause } = error.reason
      const hasLeft = attempts.left || error.request.url !== request.url
      if (hasLeft && typeof cause === "object" && cause !== null) leftBefore.add(cause)
      return sealError(error)
    }).pipe(Effect.flatMap(Effect.fail))

  return HttpClient.makeWith(
    Effect.flatMap((request) =>
      self.postprocess(Effect.succeed(request)).pipe(
        Effect.matchEffect({
          onFailure: (error) => failed(error, request),
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
