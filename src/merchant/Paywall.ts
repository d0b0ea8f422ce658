/**
 * Sells routes of an `HttpRouter`, by token sessions, by x402, or by both on the same route.
 *
 * A handler that is piped through {@link sell} answers who has paid, and demands payment of everybody else. All other
 * routes of the router are untouched.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { parseUsd } from "../Amount.ts"
import { isLoopback } from "../Transport.ts"
import * as Problem from "../wire/mpp/Problem.ts"
import { Refused, type Sale, type Way } from "./Way.ts"

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
  /** US dollars, more than nothing: `"0.01"`. */
  readonly price: string
  readonly description?: string | undefined
  /** The media type of what is sold. */
  readonly mimeType?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<Ways extends ReadonlyArray<Effect.Effect<Way, never, unknown>>> {
  /** How to pay, the preferred way first: {@link sessions}, {@link x402}. */
  readonly ways: Ways
  /**
   * The public origin: `https://api.example.com`. What a token is good for depends on it, so it is never taken from a
   * request, except on this machine.
   */
  readonly origin?: string | undefined
  /** The realm of challenges (default: the origin's host). */
  readonly realm?: string | undefined
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
    terms: {
      readonly priceUsd: bigint
      readonly description: string | undefined
      readonly mimeType: string | undefined
    }
  ) => Effect.Effect<Response, E, R | HttpServerRequest.HttpServerRequest>
}>()("effect-mpp/merchant/Paywall") {}

const originOf = (request: HttpServerRequest.HttpServerRequest): Option.Option<string> =>
  Option.fromNullishOr(URL.parse(request.originalUrl) ?? URL.parse(`http://${request.headers["host"] ?? ""}`)).pipe(
    Option.filter(isLoopback),
    Option.map(({ origin }) => origin)
  )

const misconfigured = HttpServerResponse.jsonUnsafe(
  Problem.toJson({
    code: "internal-payment-error",
    title: "Internal Server Error",
    status: 500,
    detail: "The paywall was not told its origin"
  }),
  { status: 500, contentType: "application/problem+json" }
)

const titles: { readonly [status: number]: string | undefined } = {
  401: "Unauthorized",
  402: "Payment Required",
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

const make = Effect.fnUntraced(function*<R>(
  options: Options<ReadonlyArray<Effect.Effect<Way, never, R>>>
): Effect.fn.Return<Paywall["Service"], never, R> {
  const ways = yield* Effect.all(options.ways)
  const protocols = [...new Set(ways.map(({ protocol }) => protocol))]

  /** One answer for all protocols: each finds its own header, and version 1 of x402 its members in the problem's body. */
  const refuse = Effect.fnUntraced(function*(sale: Sale, refused: Refused) {
    const { code, detail, error = code, status } = refused
    const demands = refused.demands ? yield* Effect.forEach(ways, (way) => way.demand(sale, error)) : []
    const body = Object.assign(
      {},
      Problem.toJson({ code, title: titles[status] ?? "", status, detail }),
      { error, protocols_supported: protocols },
      ...demands.map(({ members }) => members)
    )
    return HttpServerResponse.jsonUnsafe(body, {
      status,
      contentType: "application/problem+json",
      headers: Object.assign(
        { "cache-control": "no-store" },
        refused.headers,
        ...demands.map(({ headers }) => headers)
      )
    })
  })

  const saleOf = (request: HttpServerRequest.HttpServerRequest, origin: string) => ({
    origin,
    realm: options.realm ?? new URL(origin).host,
    resource: `${origin}${URL.parse(request.originalUrl, origin)?.pathname ?? "/"}`
  })

  return Paywall.of({
    charge: Effect.fn("Paywall.charge")(function*(handler, terms) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const origin = Option.orElse(Option.fromUndefinedOr(options.origin), () => originOf(request))
      if (Option.isNone(origin)) return misconfigured
      const sale = { ...saleOf(request, origin.value), ...terms }
      for (const way of ways) {
        const serve = way.presented(sale, request.headers)
        if (Option.isSome(serve)) {
          return yield* Effect.catchIf(
            serve.value(handler),
            (error) => error instanceof Refused,
            (refused) => refuse(sale, refused)
          )
        }
      }
      return yield* refuse(sale, unpaid)
    })
  })
})

/**
 * A paywall that sells in the given ways.
 *
 * **Example** (Two ways to pay for one route)
 *
 * ```ts
 * import * as HttpRouter from "effect/http/HttpRouter"
 * import * as HttpServerResponse from "effect/http/HttpServerResponse"
 * import * as Layer from "effect/Layer"
 * import * as Asset from "effect-mpp/Asset"
 * import * as Paywall from "effect-mpp/merchant/Paywall"
 *
 * const usdc = Asset.known.filter(({ network, symbol }) => network === "eip155:8453" && symbol === "USDC")
 *
 * const PaywallLive = Paywall.layer({
 *   origin: "https://api.example.com",
 *   ways: [
 *     Paywall.sessions(),
 *     Paywall.x402({
 *       accepts: usdc.map((asset) => ({ asset, payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" }))
 *     })
 *   ]
 * })
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
): Layer.Layer<Paywall, never, Effect.Services<Ways[number]>> =>
  // the elements' own services, which a tuple's type keeps and an array's would widen
  Layer.effect(
    Paywall,
    make(options as Options<ReadonlyArray<Effect.Effect<Way, never, Effect.Services<Ways[number]>>>>)
  )

// ---------------------------------------------------------------------------------------------------------------------
// Selling
// ---------------------------------------------------------------------------------------------------------------------

const priced = ({ description, mimeType, price }: Terms) => ({
  priceUsd: Option.getOrThrowWith(
    Option.filter(parseUsd(price), (usd) => usd > 0n),
    () => new RangeError(`Expected a price in US dollars such as "0.01", got "${price}"`)
  ),
  description,
  mimeType
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
