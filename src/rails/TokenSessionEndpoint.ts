/**
 * The session endpoint as the payer sees it: three calls with the account's credential, typed errors, capped bodies.
 *
 * The credential goes to the configured URL and nowhere else, and no redirect is followed with it. Each call may be
 * repeated without harm (a session is opened once per idempotency key), so an outage is waited for under the program's
 * retry policy.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { PaymentRejected, ProtocolError, RateLimited, Unavailable } from "../PaymentError.ts"
import { RetryPolicy } from "../RetryPolicy.ts"
import * as Transport from "../Transport.ts"
import * as SessionEndpoint from "../wire/mpp/SessionEndpoint.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Endpoint {
  /**
   * Opens the session of this key, or answers the one that the key has opened before. `RateLimited` and `PaymentRejected`
   * say that no attempt has opened one; a refusal that comes after an attempt without answer is `Unavailable`.
   */
  readonly open: (
    request: SessionEndpoint.OpenRequest,
    idempotencyKey: string
  ) => Effect.Effect<typeof SessionEndpoint.Opened.Type, Unavailable | RateLimited | ProtocolError | PaymentRejected>
  readonly inspect: (sessionId: string) => Effect.Effect<SessionEndpoint.Standing, Unavailable | ProtocolError>
  /** The session that a key has opened; `None` only if the endpoint says that there is none. */
  readonly find: (
    idempotencyKey: string
  ) => Effect.Effect<Option.Option<SessionEndpoint.Standing>, Unavailable | ProtocolError>
  readonly close: (sessionId: string) => Effect.Effect<SessionEndpoint.Standing, Unavailable | ProtocolError>
}

interface Reply {
  readonly status: number
  readonly text: string
  readonly retryAfter: number | undefined
}

interface Answered extends Reply {
  /** Whether an attempt before this one was left without answer, and may have been carried out. */
  readonly afterLoss: boolean
}

const service = "session endpoint"

/** An endpoint that is slower than this has not answered. */
const timeout = Duration.seconds(10)

const maxRetryAfter = Duration.toMillis("1 hour")

const refused = (detail: string) => new ProtocolError({ protocol: "mpp/1.0", detail: `the session endpoint ${detail}` })

const unavailable = (notSent: boolean, reply?: Reply) =>
  new Unavailable({
    service,
    notSent,
    ...(reply === undefined ? {} : { status: reply.status }),
    ...(reply?.retryAfter === undefined ? {} : { retryAfter: reply.retryAfter })
  })

const encodeOpenRequest = Schema.encodeEffect(SessionEndpoint.OpenRequest)
const decodeOpened = Schema.decodeUnknownOption(Schema.fromJsonString(SessionEndpoint.Opened))
const decodeStanding = Schema.decodeUnknownOption(Schema.fromJsonString(SessionEndpoint.Standing))
const decodeId = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ sessionId: SessionEndpoint.SessionId }))
)
const decodeProblem = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({
    type: Schema.optionalKey(Schema.String),
    idempotencyKey: Schema.optionalKey(Schema.String)
  }))
)

/** Words of the endpoint's own are not taken over: it may repeat what it was sent. */
const problemCode = (text: string): string =>
  Option.match(decodeProblem(text), {
    onNone: () => "unspecified",
    onSome: ({ type = "" }) => /^urn:mpp:session:([a-z][a-z-]{0,39})$/.exec(type)?.[1] ?? "unspecified"
  })

const retryAfterOf = (header: string | undefined, now: number): number | undefined =>
  Result.match(Headers.parseRetryAfter(header ?? ""), {
    onFailure: () => undefined,
    onSuccess: (parsed) => Math.ceil(Math.min(Duration.toMillis(Headers.retryAfterDelay(parsed, now)), maxRetryAfter))
  })

/** With these somebody on the way says that the endpoint itself gave no answer. */
const unanswered: ReadonlySet<number | undefined> = new Set([undefined, 408, 502, 504])

/**
 * Waits and repeats under the retry policy. Once one attempt may have left, the last one's refused connection proves nothing;
 * and once one was left without answer, neither does a refusal.
 */
const patiently = (attempt: Effect.Effect<Reply, Unavailable>): Effect.Effect<Answered, Unavailable> =>
  Effect.flatMap(RetryPolicy, (policy) => {
    let left = false
    let afterLoss = false
    const note = ({ notSent, status }: Unavailable) =>
      Effect.sync(() => {
        left ||= !notSent
        afterLoss ||= !notSent && unanswered.has(status)
      })
    return attempt.pipe(
      Effect.tapError(note),
      Effect.retry({ schedule: policy.Unavailable, while: (error) => !error.notSent }),
      Effect.map((reply) => ({ ...reply, afterLoss })),
      Effect.mapError((error) => error.notSent && left ? new Unavailable({ service, notSent: false }) : error)
    )
  })

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly client: HttpClient.HttpClient
  readonly url: string
  readonly credential: Redacted.Redacted<string>
}): Endpoint => {
  const { client, credential, url } = options
  const of = (sessionId: string) => `${url}/${encodeURIComponent(sessionId)}`

  const send = (request: HttpClientRequest.HttpClientRequest): Effect.Effect<Answered, Unavailable> =>
    client.execute(HttpClientRequest.bearerToken(request, credential)).pipe(
      Effect.flatMap((response) =>
        Effect.all({
          text: Transport.readText(response, SessionEndpoint.maxBodyBytes),
          now: Clock.currentTimeMillis
        }).pipe(Effect.map(({ now, text }): Reply => ({
          status: response.status,
          text: Option.getOrElse(text, () => ""),
          retryAfter: retryAfterOf(response.headers["retry-after"], now)
        })))
      ),
      Effect.mapError((error) => unavailable(Transport.isNotSent(error))),
      Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail(unavailable(false)) }),
      Effect.filterOrFail(
        ({ status }) => status < 500 && status !== 408,
        (reply) => unavailable(false, reply)
      ),
      patiently
    )

  const standing = (reply: Reply): Effect.Effect<SessionEndpoint.Standing, Unavailable | ProtocolError> => {
    if (reply.status === 429) return Effect.fail(unavailable(false, reply))
    if (reply.status !== 200) return Effect.fail(refused(`answers HTTP ${reply.status} when asked for a session`))
    return Effect.fromOption(decodeStanding(reply.text)).pipe(
      Effect.mapError(() => refused("answers figures that cannot be read"))
    )
  }

  const close = (sessionId: string) => Effect.flatMap(send(HttpClientRequest.delete(of(sessionId))), standing)

  // A session that we cannot use must not stay open. An id of odd characters is not put into a request at all.
  const malformed = (reply: Reply) =>
    Option.match(decodeId(reply.text), {
      onNone: () => Effect.void,
      onSome: ({ sessionId }) => Effect.ignore(close(sessionId))
    }).pipe(Effect.andThen(Effect.fail(refused("answers a session that cannot be read"))))

  return {
    close,
    open: (body, idempotencyKey) =>
      Effect.gen(function*() {
        const encoded = yield* Effect.mapError(encodeOpenRequest(body), () =>
          refused("cannot be asked for such a session"))
        const reply = yield* send(
          HttpClientRequest.post(url).pipe(
            HttpClientRequest.setHeader("idempotency-key", idempotencyKey),
            HttpClientRequest.bodyJsonUnsafe(encoded)
          )
        )
        const { retryAfter, status } = reply
        if (status === 200 || status === 201) {
          const opened = decodeOpened(reply.text)
          return Option.isSome(opened) ? opened.value : yield* malformed(reply)
        }
        if (status >= 400 && reply.afterLoss) {
          return yield* unavailable(false, reply)
        }
        if (status === 429) {
          return yield* new RateLimited(retryAfter === undefined ? {} : { retryAfter })
        }
        if (status >= 400) {
          return yield* new PaymentRejected({ rail: "mpp/token-session", status, problem: problemCode(reply.text) })
        }
        return yield* refused(`answers HTTP ${status} to the opening of a session`)
      }),
    inspect: (sessionId) => Effect.flatMap(send(HttpClientRequest.get(of(sessionId))), standing),
    find: (idempotencyKey) =>
      Effect.flatMap(
        send(HttpClientRequest.get(url, { urlParams: { idempotencyKey } })),
        (reply) =>
          reply.status === 404 &&
            Option.exists(decodeProblem(reply.text), (problem) => problem.idempotencyKey === idempotencyKey)
            ? Effect.succeedNone
            : Effect.asSome(standing(reply))
      )
  }
}
