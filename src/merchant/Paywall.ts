/**
 * Sells routes of an `HttpRouter`: by charges on Tempo and on EVM chains, by token sessions, by x402, or by all of them on
 * the same route.
 *
 * A handler that is piped through {@link sell} answers who has paid, and demands payment of everybody else. All other
 * routes of the router are untouched.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { parseUsd } from "../Amount.ts"
import { isLoopback } from "../Transport.ts"
import * as Problem from "../wire/mpp/Problem.ts"
import { Realm } from "../wire/Text.ts"
import * as Claims from "./Claims.ts"
import * as Presented from "./Presented.ts"
import * as RequestBody from "./RequestBody.ts"
import { Refused, type Sale, type Serve, type Way } from "./Way.ts"

export {
  /**
   * @category ways
   * @since 0.1.0
   */
  make as channels,
  /**
   * @category ways
   * @since 0.1.0
   */
  type Options as ChannelsOptions
} from "./ChannelWay.ts"
export {
  /**
   * @category references
   * @since 0.1.0
   */
  Paid,
  /**
   * @category references
   * @since 0.1.0
   */
  type Payment
} from "./ChargeWay.ts"
export {
  /**
   * @category ways
   * @since 0.1.0
   */
  make as evm,
  /**
   * @category ways
   * @since 0.1.0
   */
  type Options as EvmOptions
} from "./EvmCharges.ts"
export {
  /**
   * @category ways
   * @since 0.1.0
   */
  make as sessions,
  /**
   * @category ways
   * @since 0.1.0
   */
  type Options as SessionsOptions
} from "./SessionWay.ts"
export {
  /**
   * @category ways
   * @since 0.1.0
   */
  make as tempo,
  /**
   * @category ways
   * @since 0.1.0
   */
  type Options as TempoOptions
} from "./TempoCharges.ts"
export {
  /**
   * @category ways
   * @since 0.1.0
   */
  type Accepted,
  /**
   * @category ways
   * @since 0.1.0
   */
  make as x402,
  /**
   * @category ways
   * @since 0.1.0
   */
  type Options as X402Options
} from "./X402Way.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What one request costs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms {
  /**
   * US dollars: `"0.01"`. For `"0"` nothing is taken, and who asks has to prove which account is theirs; {@link Paid} tells
   * the handler. Charges on Tempo alone can ask for that.
   */
  readonly price: string
  readonly description?: string | undefined
  /** The media type of what is sold. */
  readonly mimeType?: string | undefined
  /** What your own books call what is sold: charges and their receipts carry it. */
  readonly externalId?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<Ways extends ReadonlyArray<Effect.Effect<Way, never, unknown>>> {
  /** How to pay, the preferred way first: {@link tempo}, {@link channels}, {@link evm}, {@link sessions}, {@link x402}. */
  readonly ways: Ways
  /**
   * The public origin: `https://api.example.com`. What a token is good for depends on it, so it is never taken from a
   * request, except on this machine. Charges are not offered over plain http, except on this machine.
   */
  readonly origin?: string | undefined
  /** The realm of challenges (default: the origin's host). */
  readonly realm?: string | undefined
  /**
   * Where all ways keep their claims (default: the memory of this process). Merchants of several processes need claims that
   * these share; claims that do not outlive a restart forget what was sold and what is owed.
   */
  readonly claims?: Effect.Effect<Claims.Claims> | undefined
  /**
   * Whether the routes need the `Authorization` field for something else. Charges are then paid in the field
   * `Payment-Authorization`.
   */
  readonly requiresAuth?: boolean | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// Service
// ---------------------------------------------------------------------------------------------------------------------

type Response = HttpServerResponse.HttpServerResponse

/**
 * @category services
 * @since 0.1.0
 */
export class Paywall extends Context.Service<Paywall, {
  /** Runs a handler for who has paid its price, which is in micro-dollars; answers everybody else. */
  readonly charge: <E, R>(
    handler: Effect.Effect<Response, E, R>,
    terms: Pick<Sale, "priceUsd" | "description" | "mimeType" | "externalId">
  ) => Effect.Effect<Response, E, R | HttpServerRequest.HttpServerRequest>
}>()("effect-mpp/merchant/Paywall") {}

const originOf = (request: HttpServerRequest.HttpServerRequest): Option.Option<string> =>
  Option.fromNullishOr(URL.parse(request.originalUrl) ?? URL.parse(`http://${request.headers["host"] ?? ""}`)).pipe(
    Option.filter(isLoopback),
    Option.map(({ origin }) => origin)
  )

const misconfigured = (detail: string) =>
  HttpServerResponse.jsonUnsafe(
    Problem.toJson({ code: "internal-payment-error", title: "Internal Server Error", status: 500, detail }),
    { status: 500, contentType: "application/problem+json" }
  )

const titles: { readonly [status: number]: string | undefined } = {
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  410: "Gone",
  502: "Bad Gateway",
  503: "Service Unavailable"
}

const unpaid = new Refused({
  status: 402,
  code: "payment-required",
  error: "payment_required",
  detail: "This resource is sold",
  demands: true
})

/** One answer for all protocols: each finds its own header, and version 1 of x402 its members in the problem's body. */
const answer = Effect.fnUntraced(function*(
  ways: ReadonlyArray<Way>,
  sale: Sale,
  refused: Refused,
  headers: Headers.Headers
) {
  const { code, detail, error = code, status } = refused
  const demands = refused.demands ? yield* Effect.forEach(ways, (way) => way.demand(sale, error)) : []
  const challenges = Presented.preferred(demands.flatMap((demand) => demand.challenges), headers)
  const body = Object.assign(
    {},
    Problem.toJson({ code, title: titles[status] ?? "", status, detail }),
    refused.members,
    { error, protocols_supported: [...new Set(ways.map(({ protocol }) => protocol))] },
    ...demands.map(({ members }) => members)
  )
  return HttpServerResponse.jsonUnsafe(body, {
    status,
    contentType: "application/problem+json",
    headers: Object.assign(
      { "cache-control": "no-store" },
      challenges.length === 0 ? {} : { "www-authenticate": challenges.map(({ value }) => value).join(", ") },
      refused.headers,
      ...demands.map(({ headers }) => headers)
    )
  })
})

const isUnknownChallenge = (error: unknown) => error instanceof Refused && error.code === "invalid-challenge"

const make = Effect.fnUntraced(function*<R>(
  options: Options<ReadonlyArray<Effect.Effect<Way, never, R>>>
): Effect.fn.Return<Paywall["Service"], never, R> {
  const claims = yield* options.claims ?? Claims.memory
  const ways = yield* Effect.provideService(Effect.all(options.ways), Claims.Default, Effect.succeed(claims))
  const credentialHeader = options.requiresAuth === true ? "Payment-Authorization" : undefined

  const saleOf = (request: HttpServerRequest.HttpServerRequest, origin: string) => {
    const { pathname = "/", search = "" } = URL.parse(request.originalUrl, origin) ?? {}
    return {
      origin,
      realm: options.realm ?? new URL(origin).host,
      method: request.method,
      resource: `${origin}${pathname}`,
      query: search,
      credentialHeader
    }
  }

  return Paywall.of({
    charge: Effect.fn("Paywall.charge")(function*(handler, terms) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const origin = Option.orElse(Option.fromUndefinedOr(options.origin), () => originOf(request))
      if (Option.isNone(origin)) return misconfigured("The paywall was not told its origin")
      const body = yield* RequestBody.make(request)
      const sale: Sale = { ...saleOf(request, origin.value), ...terms, body: body.bytes }
      const selling = ways.filter((way) => way.sells(sale))
      if (selling.length === 0) return misconfigured("No way to pay is for this price and this origin")
      const refuse = (refused: Refused) => answer(selling, sale, refused, request.headers)
      const presented = Presented.read(request.headers)
      if (Result.isFailure(presented)) return yield* refuse(presented.failure)
      const [first, ...others] = selling.flatMap((way) => Option.toArray(way.presented(sale, presented.success)))
      if (first !== undefined) {
        const serve = (by: Serve) => by(body.after(handler))
        // Two ways of one method have their own challenges each. Nothing is taken for one that is not known.
        const served = others.reduce(
          (tried, other) => Effect.catchIf(tried, isUnknownChallenge, () => serve(other)),
          serve(first)
        )
        return yield* Effect.catchIf(served, (error) => error instanceof Refused, refuse)
      }
      const { credential } = presented.success
      const isOfThese = credential !== undefined && selling.some(({ protocol }) => protocol === "mpp")
      return yield* refuse(isOfThese ? Presented.unusable(credential) : unpaid)
    })
  })
})

/** Ids of challenges are bound to text whose parts are joined by a bar. */
const isRealm = Schema.is(Realm.check(Schema.isPattern(/^[^|]*$/)))

/**
 * A paywall that sells in the given ways. Throws a `RangeError` at once if the realm is none.
 *
 * **Example** (Every way to pay for one route)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Effect from "effect/Effect"
 * import * as HttpRouter from "effect/http/HttpRouter"
 * import * as HttpServerResponse from "effect/http/HttpServerResponse"
 * import * as Layer from "effect/Layer"
 * import * as Asset from "effect-mpp/Asset"
 * import * as Paywall from "effect-mpp/merchant/Paywall"
 *
 * const payTo = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
 * const on = (network: string) =>
 *   Asset.known.filter((asset) => asset.network === network).map((asset) => ({ asset, payTo }))
 *
 * const PaywallLive = Layer.unwrap(Effect.map(Config.Redacted("CHALLENGE_SECRET"), (secret) =>
 *   Paywall.layer({
 *     origin: "https://api.example.com",
 *     ways: [
 *       Paywall.tempo({ secret, accepts: on("eip155:4217") }),
 *       Paywall.evm({ secret, accepts: on("eip155:8453") }),
 *       Paywall.sessions(),
 *       Paywall.x402({ accepts: on("eip155:8453") })
 *     ]
 *   })))
 *
 * const Routes = Layer.mergeAll(
 *   HttpRouter.add("GET", "/health", HttpServerResponse.text("ok")),
 *   Paywall.route("GET", "/answer", { price: "0.01" }, HttpServerResponse.json({ answer: 42 }))
 * )
 *
 * const App = Layer.provide(HttpRouter.serve(Routes), PaywallLive)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Ways extends ReadonlyArray<Effect.Effect<Way, never, unknown>>>(
  options: Options<Ways>
): Layer.Layer<Paywall, never, Exclude<Effect.Services<Ways[number]>, Scope.Scope>> => {
  if (options.realm !== undefined && !isRealm(options.realm)) throw new RangeError("Expected a realm without a bar")
  // the elements' own services, which a tuple's type keeps and an array's would widen
  return Layer.effect(
    Paywall,
    make(options as Options<ReadonlyArray<Effect.Effect<Way, never, Effect.Services<Ways[number]>>>>)
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// Selling
// ---------------------------------------------------------------------------------------------------------------------

const priced = ({ description, externalId, mimeType, price }: Terms) => ({
  priceUsd: Option.getOrThrowWith(
    parseUsd(price),
    () => new RangeError(`Expected a price in US dollars such as "0.01", got "${price}"`)
  ),
  description,
  mimeType,
  externalId
})

/**
 * Sells what a handler answers. Throws a `RangeError` at once if the price is none.
 *
 * @category combinators
 * @since 0.1.0
 */
export const sell = (terms: Terms) => {
  const charged = priced(terms)
  return <E, R>(
    handler: Effect.Effect<Response, E, R>
  ): Effect.Effect<Response, E, R | Paywall | HttpServerRequest.HttpServerRequest> =>
    Paywall.use((paywall) => paywall.charge(handler, charged))
}

/**
 * Adds a route that is sold. Throws a `RangeError` at once if the price is none.
 *
 * @category routes
 * @since 0.1.0
 */
export const route = <E, R>(
  method: Parameters<typeof HttpRouter.add>[0],
  path: HttpRouter.PathInput,
  terms: Terms,
  handler: Effect.Effect<Response, E, R>
) => HttpRouter.add(method, path, sell(terms)(handler))

/**
 * Sells all routes that its `layer` is provided to, at one price. Throws a `RangeError` at once if the price is none.
 *
 * @category routes
 * @since 0.1.0
 */
export const middleware = (terms: Terms) => {
  const charged = priced(terms)
  return HttpRouter.middleware(
    Effect.map(Paywall, (paywall) => (handler) => paywall.charge(handler, charged))
  )
}
