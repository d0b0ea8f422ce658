/**
 * A session endpoint: the authority that opens token sessions of the `mpp/1.0` dialect and keeps their money.
 *
 * An account opens a session with its credential and a merchant's challenge; its limit is reserved from the account's
 * balance at once. The merchant debits the token that comes with a request. A limit is never exceeded, whatever runs at
 * the same time, because each step on the books is atomic. A session that ends, closed or expired, returns its rest.
 *
 * {@link routes} speaks the protocol over HTTP; a merchant in the same process calls `debit` itself.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HashMap from "effect/HashMap"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { sha256, stringToBytes, stringToHex } from "viem/utils"
import * as SeedChallenge from "../wire/mpp/SeedChallenge.ts"
import * as SessionEndpoint from "../wire/mpp/SessionEndpoint.ts"
import * as Books from "./SessionBooks.ts"
import * as Refusal from "./SessionRefusal.ts"
import { type DebitRefused, NotFound, OpenRefused, Unauthorized } from "./SessionRefusal.ts"

export { type Charge, type Debited, type Standing, Store } from "./SessionBooks.ts"
export { DebitRefused, NotFound, OpenRefused, Unauthorized } from "./SessionRefusal.ts"

/**
 * A session that was opened, with its token.
 *
 * @category models
 * @since 0.1.0
 */
export interface Grant {
  readonly sessionId: string
  readonly token: Redacted.Redacted<string>
  readonly audience: string
  readonly limitUsd: bigint
  readonly expiresAt: number
}

/**
 * What the authority holds, for audits. In every account `spentUsd + reservedUsd + availableUsd = balanceUsd`, and what
 * all accounts spent is what moved to all merchants.
 *
 * @category models
 * @since 0.1.0
 */
export interface Audit {
  readonly accounts: ReadonlyArray<
    Books.Account & { readonly spentUsd: bigint; readonly reservedUsd: bigint; readonly availableUsd: bigint }
  >
  /** Micro-dollars debited, by audience. */
  readonly moved: ReadonlyMap<string, bigint>
}

/**
 * @category services
 * @since 0.1.0
 */
export class SessionAuthority extends Context.Service<SessionAuthority, {
  /**
   * Opens a session and reserves its limit. The same key and request give the same session and token again; the expiry
   * may be sooner than asked for, never later.
   */
  readonly create: (
    credential: Redacted.Redacted<string>,
    idempotencyKey: string,
    request: SessionEndpoint.OpenRequest
  ) => Effect.Effect<Grant, Unauthorized | OpenRefused>
  readonly inspect: (
    credential: Redacted.Redacted<string>,
    session: { readonly sessionId: string } | { readonly idempotencyKey: string }
  ) => Effect.Effect<Books.Standing, Unauthorized | NotFound>
  /** Ends a session; its rest returns to the account. Asked for again, it answers the same final figures. */
  readonly close: (
    credential: Redacted.Redacted<string>,
    sessionId: string
  ) => Effect.Effect<Books.Standing, Unauthorized | NotFound>
  /** Takes the price of one request from a token's session, wholly or not at all. */
  readonly debit: (token: Redacted.Redacted<string>, charge: Books.Charge) => Effect.Effect<Books.Debited, DebitRefused>
  readonly audit: Effect.Effect<Audit>
}>()("effect-mpp/merchant/SessionAuthority") {}

/**
 * Who may open sessions, and under which limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly accounts: ReadonlyArray<{
    readonly credential: Redacted.Redacted<string>
    /** All that this account may ever spend, in micro-dollars. */
    readonly balanceUsd: bigint
    readonly name?: string | undefined
  }>
  /** Realms of merchants whose realm is not their host, by origin. */
  readonly realms?: { readonly [origin: string]: string } | undefined
  /** The longest validity of a session (default one day). */
  readonly maxValidity?: Duration.Input | undefined
  /** Open sessions per account (default 1,000). */
  readonly maxOpenSessions?: number | undefined
  /** For how long an ended session can be read (default one day). */
  readonly retention?: Duration.Input | undefined
}

const make = Effect.fnUntraced(function*(options: Options) {
  const random = yield* SecureRandom.SecureRandom
  const store = yield* Books.Store
  const maxValidity = Duration.toMillis(options.maxValidity ?? "1 day")
  const rules: Books.Rules = {
    maxOpenSessions: options.maxOpenSessions ?? 1000,
    retention: Duration.toMillis(options.retention ?? "1 day")
  }
  const accounts = options.accounts.map(({ balanceUsd, credential, name }, index) => ({
    name: name ?? `account ${index + 1}`,
    balanceUsd,
    digest: digestOf(credential)
  }))
  const randomText = (bytes: number) => Effect.map(random.randomBytes(bytes), Base64Url.encode)

  // Every account is looked at, so that the time it takes says nothing of where a guess came close.
  const authenticate = (credential: Redacted.Redacted<string>): Effect.Effect<Books.Account, Unauthorized> => {
    const given = digestOf(credential)
    let found: Books.Account | undefined
    for (const account of accounts) if (Mac.timingSafeEqual(account.digest, given)) found = account
    return found === undefined ? Effect.fail(new Unauthorized()) : Effect.succeed(found)
  }

  const realmOf = (request: SessionEndpoint.OpenRequest): Result.Result<string, OpenRefused> =>
    Option.match(Option.map(SeedChallenge.decode(request.challenge), ({ realm }) => realm), {
      onNone: () => Result.fail(new OpenRefused({ why: "malformed-challenge" })),
      onSome: (realm) =>
        SessionEndpoint.realmFits(realm, request.audience, options.realms?.[request.audience])
          ? Result.succeed(realm)
          : Result.fail(new OpenRefused({ why: "realm-mismatch" }))
    })

  return SessionAuthority.of({
    create: Effect.fn("SessionAuthority.create")(function*(credential, idempotencyKey, request) {
      const account = yield* authenticate(credential)
      const realm = yield* Effect.fromResult(realmOf(request))
      if (request.spendingLimitUsdc === 0n) return yield* new OpenRefused({ why: "empty-limit" })
      const token = `mpps_${yield* randomText(32)}`
      const now = yield* Clock.currentTimeMillis
      const candidate: Books.Session = {
        id: `sess_${yield* randomText(16)}`,
        account: account.name,
        idempotencyKey,
        request: requestDigest(request),
        token: Redacted.make(token, { label: "session token" }),
        tokenDigest: sha256(stringToHex(token)),
        audience: request.audience,
        realm,
        limitUsd: request.spendingLimitUsdc,
        expiresAt: now + Math.min(request.validitySeconds * 1000, maxValidity),
        spentUsd: 0n,
        closedAt: undefined,
        debits: HashMap.empty()
      }
      const session = yield* Effect.fromResult(yield* store.modify(Books.open(candidate, account, rules, now)))
      return {
        sessionId: session.id,
        token: session.token,
        audience: session.audience,
        limitUsd: session.limitUsd,
        expiresAt: session.expiresAt
      }
    }),

    inspect: Effect.fn("SessionAuthority.inspect")(function*(credential, by) {
      const account = yield* authenticate(credential)
      const now = yield* Clock.currentTimeMillis
      const found = yield* store.modify((books) => [Books.find(books, account.name, by), books])
      return yield* standingOf(found, now)
    }),

    close: Effect.fn("SessionAuthority.close")(function*(credential, sessionId) {
      const account = yield* authenticate(credential)
      const now = yield* Clock.currentTimeMillis
      return yield* standingOf(yield* store.modify(Books.close(account.name, sessionId, now)), now)
    }),

    debit: Effect.fn("SessionAuthority.debit")(function*(token, charge) {
      const now = yield* Clock.currentTimeMillis
      const digest = sha256(stringToHex(Redacted.value(token)))
      return yield* Effect.fromResult(yield* store.modify(Books.debit(digest, charge, now)))
    }),

    audit: Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      return yield* store.modify((books) => [
        {
          accounts: accounts.map(({ balanceUsd, name }) => ({
            name,
            balanceUsd,
            ...Books.balanceOf(books, { name, balanceUsd }, now)
          })),
          moved: new Map(books.moved)
        },
        books
      ])
    })
  })
})

const digestOf = (credential: Redacted.Redacted<string>): Uint8Array =>
  sha256(stringToBytes(Redacted.value(credential)), "bytes")

const requestDigest = (request: SessionEndpoint.OpenRequest): string =>
  sha256(stringToHex(JSON.stringify([
    request.challenge,
    request.audience,
    request.spendingLimitUsdc.toString(),
    request.validitySeconds,
    request.agentId ?? null
  ])))

const standingOf = (session: Option.Option<Books.Session>, now: number): Effect.Effect<Books.Standing, NotFound> =>
  Effect.fromOption(session).pipe(
    Effect.mapBoth({ onSuccess: (one) => Books.standingOf(one, now), onFailure: () => new NotFound() })
  )

/**
 * An authority whose books are kept by a {@link Books.Store} of the program's own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (
  options: Options
): Layer.Layer<SessionAuthority, never, SecureRandom.SecureRandom | Books.Store> =>
  Layer.effect(SessionAuthority, make(options))

/**
 * An authority whose books are kept in memory.
 *
 * **Example** (An account of one dollar)
 *
 * ```ts
 * import * as SecureRandom from "effect/crypto/SecureRandom"
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 * import * as SessionAuthority from "effect-mpp/merchant/SessionAuthority"
 *
 * const AuthorityLive = SessionAuthority.layer({
 *   accounts: [{ credential: Redacted.make("tempo_live_1"), balanceUsd: 1_000_000n, name: "crawler" }]
 * }).pipe(Layer.provide(SecureRandom.layerWebCrypto))
 *
 * const available = SessionAuthority.SessionAuthority.use(({ audit }) => audit).pipe(
 *   Effect.map(({ accounts }) => accounts[0]?.availableUsd),
 *   Effect.provide(AuthorityLive)
 * )
 * await Effect.runPromise(available) // => 1000000n
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SessionAuthority, never, SecureRandom.SecureRandom> =>
  layerStore(options).pipe(Layer.provide(Books.Store.layerMemory()))

const malformed = () => Effect.succeed(Refusal.problem(422, "malformed-request", "The request cannot be read"))

const answered = <R>(
  handler: Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    | Unauthorized
    | NotFound
    | OpenRefused
    | Schema.SchemaError
    | HttpServerError.HttpServerError
    | HttpBody.HttpBodyError,
    R
  >
) =>
  handler.pipe(
    Effect.catchTags({
      Unauthorized: (refusal) => Effect.succeed(Refusal.toResponse(refusal)),
      OpenRefused: (refusal) => Effect.succeed(Refusal.toResponse(refusal)),
      SessionNotFound: (refusal) =>
        Effect.map(Effect.option(idempotencyKeyQuery), (asked) =>
          Refusal.toResponse(refusal, Option.getOrUndefined(asked))),
      SchemaError: malformed,
      HttpServerError: malformed,
      HttpBodyError: Effect.die
    }),
    Effect.map(HttpServerResponse.setHeader("cache-control", "no-store")),
    Effect.provideService(HttpServerRequest.MaxBodySize, ByteSize.fromInputUnsafe(SessionEndpoint.maxBodyBytes))
  )

const bearer = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) => {
  const token = /^bearer +([\x21-\x7e]+)$/i.exec(headers["authorization"] ?? "")?.[1]
  return token === undefined ? Effect.fail(new Unauthorized()) : Effect.succeed(Redacted.make(token))
})

const idempotencyKeyHeader = HttpServerRequest.schemaHeaders(
  Schema.Struct({ "idempotency-key": SessionEndpoint.IdempotencyKey })
)
const idempotencyKeyQuery = HttpServerRequest.schemaSearchParams(
  Schema.Struct({ idempotencyKey: SessionEndpoint.IdempotencyKey })
)
const openRequestBody = HttpServerRequest.schemaBodyJson(SessionEndpoint.OpenRequest)
const sessionId = Effect.map(HttpRouter.params, ({ id }) => id ?? "")

const opened = HttpServerResponse.schemaJson(SessionEndpoint.Opened)
const standing = HttpServerResponse.schemaJson(SessionEndpoint.Standing)

const standingResponse = ({ remainingUsd, sessionId, spentUsd, status }: Books.Standing) =>
  standing({ sessionId, spentUsdc: spentUsd, remainingUsdc: remainingUsd, status })

/**
 * The endpoint over HTTP: `POST /session`, `GET /session/:id`, `GET /session?idempotencyKey=`, `DELETE /session/:id`,
 * each with `Authorization: Bearer <credential>`. Failures are RFC 9457 problems of the types `urn:mpp:session:*`; a 404
 * repeats the idempotency key that was asked for, so that it is told apart from the 404 of a server without this route.
 *
 * @category layers
 * @since 0.1.0
 */
export const routes = HttpRouter.addAll([
  HttpRouter.route(
    "POST",
    "/session",
    answered(Effect.gen(function*() {
      const credential = yield* bearer
      const authority = yield* SessionAuthority
      const { "idempotency-key": key } = yield* idempotencyKeyHeader
      const grant = yield* authority.create(credential, key, yield* openRequestBody)
      return yield* opened({
        sessionId: grant.sessionId,
        sessionToken: Redacted.value(grant.token),
        spendingLimitUsdc: grant.limitUsd,
        expiresAt: grant.expiresAt,
        audience: grant.audience
      }, { status: 201 })
    }))
  ),
  HttpRouter.route(
    "GET",
    "/session",
    answered(Effect.gen(function*() {
      const credential = yield* bearer
      const authority = yield* SessionAuthority
      return yield* Effect.flatMap(authority.inspect(credential, yield* idempotencyKeyQuery), standingResponse)
    }))
  ),
  HttpRouter.route(
    "GET",
    "/session/:id",
    answered(Effect.gen(function*() {
      const credential = yield* bearer
      const authority = yield* SessionAuthority
      return yield* Effect.flatMap(authority.inspect(credential, { sessionId: yield* sessionId }), standingResponse)
    }))
  ),
  HttpRouter.route(
    "DELETE",
    "/session/:id",
    answered(Effect.gen(function*() {
      const credential = yield* bearer
      const authority = yield* SessionAuthority
      return yield* Effect.flatMap(authority.close(credential, yield* sessionId), standingResponse)
    }))
  )
])
