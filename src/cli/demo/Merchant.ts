/**
 * The merchant of the demo: sells quotes, by session and by x402 alike.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import { formatUsd } from "../../Amount.ts"
import type { Asset } from "../../Asset.ts"
import * as Paywall from "../../merchant/Paywall.ts"
import * as Faults from "./Faults.ts"

/**
 * What one request costs, in micro-dollars.
 *
 * @category constants
 * @since 0.1.0
 */
export const priceUsd = 10_000n

const quotes = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => HttpServerResponse.jsonUnsafe({ url, quotes: ["buy low", "sell high"] })
)

/**
 * What the merchant sells, with the faults in front of it.
 *
 * @category routes
 * @since 0.1.0
 */
export const routes = Layer.merge(
  Faults.middleware,
  Paywall.route(
    "GET",
    "/quotes",
    { price: formatUsd(priceUsd), description: "A page of quotes" },
    Faults.whileServing(quotes)
  )
)

/**
 * How the merchant is paid.
 *
 * @category layers
 * @since 0.1.0
 */
export const paywall = (options: {
  readonly origin: string
  readonly payTo: string
  readonly asset: Asset
  /** Where its sessions are opened. */
  readonly endpoint: string
}) =>
  Paywall.layer({
    origin: options.origin,
    ways: [
      Paywall.sessions({ endpoint: options.endpoint }),
      Paywall.x402({ accepts: [{ asset: options.asset, payTo: options.payTo }] })
    ]
  })
