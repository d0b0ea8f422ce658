/**
 * Whether a request has left this process, and the rule that what carries a credential leaves it once.
 *
 * A token that is sent twice is debited twice, so below payment nothing sends it again: only payment knows what became of
 * the money. What carries no credential may be sent as often as a program likes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"

type Request = HttpClientRequest.HttpClientRequest
type HttpError = HttpClientError.HttpClientError

// ---------------------------------------------------------------------------------------------------------------------
// Credentials
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Headers whose value alone can move money, or log in as us.
 *
 * @category constants
 * @since 0.1.0
 */
export const credentialHeaders: ReadonlyArray<string> = [
  "payment-authorization",
  "payment-signature",
  "x-payment",
  "sign-in-with-x"
]

/**
 * The names of the headers that carry a credential of ours.
 *
 * @category getters
 * @since 0.1.0
 */
export const credentialsOf = (headers: Headers.Headers): ReadonlyArray<string> =>
  Object.keys(headers).filter((name) =>
    name === "authorization" ? /^payment\s/i.test(headers[name] ?? "") : credentialHeaders.includes(name)
  )

// ---------------------------------------------------------------------------------------------------------------------
// Proof
// ---------------------------------------------------------------------------------------------------------------------

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

/** The cause of a failure that came after another attempt, or another hop: whatever it is, it proves nothing. */
class MayHaveLeft extends Data.TaggedError("MayHaveLeft")<{ readonly cause: unknown }> {}

const provesNotSent = (cause: unknown, depth: number): boolean => {
  if (depth > 8 || typeof cause !== "object" || cause === null || cause instanceof MayHaveLeft) return false
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
 * A program's own `HttpClient` must not retry by itself: its last failure says nothing of the attempts before, and a
 * credential would be sent more than once. Retries belong into the transport's `transformClient`, where each attempt is
 * seen. They serve what carries no credential, and connections that were refused.
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

/** The same failure as one that proves nothing. */
const mayHaveLeft = (error: HttpError): HttpError =>
  isNotSent(error)
    ? new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request: error.request,
        cause: new MayHaveLeft({ cause: error.reason.cause }),
        description: "an earlier attempt may have reached the server"
      })
    })
    : error

/**
 * The failure of a request that was sent, as one that proves nothing if a redirect was followed: a client that follows them
 * reports the URL of its last hop.
 *
 * @category mapping
 * @since 0.1.0
 */
export const afterHops = (error: HttpError, sent: Request): HttpError =>
  error.request.url === sent.url ? error : mayHaveLeft(error)

// ---------------------------------------------------------------------------------------------------------------------
// Attempts
// ---------------------------------------------------------------------------------------------------------------------

type Outcome = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpError>

interface Attempts {
  /** What the last attempt came to that may have left. */
  outcome: Outcome | undefined
}

const Attempts = Context.Reference<Attempts | undefined>("effect-mpp/Sent/Attempts", {
  defaultValue: () => undefined
})

/** Thrown, since neither a retry nor a repeat goes on after a defect: they would send a credential again. */
class SentBefore extends Data.TaggedError("SentBefore") {}

const lost = (request: Request): Outcome =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({ request, description: "what became of the request is not known" })
    })
  )

const provesThatNothingLeft = (exit: Exit.Exit<unknown, HttpError>, request: Request): boolean =>
  exit._tag === "Failure" &&
  exit.cause.reasons.every((reason) => reason._tag === "Fail" && isNotSent(afterHops(reason.error, request)))

/** Notes of each attempt whether it may have left, and attempts no credential again that may have. */
const watchAttempts = (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.transform(client, (attempt, request) =>
    Effect.flatMap(Attempts, (attempts) => {
      if (attempts === undefined) return attempt
      const before = attempts.outcome
      if (before !== undefined && credentialsOf(request.headers).length > 0) return Effect.die(new SentBefore())
      const underway = attempts.outcome = lost(request)
      return Effect.onExit(attempt, (exit) =>
        Effect.sync(() => {
          if (!provesThatNothingLeft(exit, request)) {
            attempts.outcome = Exit.isSuccess(exit)
              ? exit
              : Option.match(Exit.findErrorOption(exit), { onNone: () => underway, onSome: Effect.fail })
          } else if (attempts.outcome === underway) attempts.outcome = before
        }))
    }))

/**
 * A program's own transformation of a client, and what it may not do: attempt a credential again that may have left. Then
 * the earlier answer, or the earlier failure, is what the send came to. A failure of the last attempt does not pass for
 * {@link isNotSent} if an earlier one may have left.
 *
 * @category combinators
 * @since 0.1.0
 */
export const transformOnce = (
  client: HttpClient.HttpClient,
  transform: (client: HttpClient.HttpClient) => HttpClient.HttpClient
): HttpClient.HttpClient =>
  HttpClient.transform(transform(watchAttempts(client)), (send, request) =>
    Effect.suspend(() => {
      const attempts: Attempts = { outcome: undefined }
      return send.pipe(
        Effect.catchDefect((defect) =>
          defect instanceof SentBefore ? attempts.outcome ?? lost(request) : Effect.die(defect)
        ),
        Effect.mapError((error) => attempts.outcome === undefined ? error : mayHaveLeft(error)),
        Effect.provideService(Attempts, attempts)
      )
    }))
