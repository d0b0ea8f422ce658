/**
 * A way to be paid: what a paywall asks of each protocol that it sells by.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { usdDecimals } from "../Amount.ts"
import type { Asset } from "../Asset.ts"
import type * as Credential from "../wire/mpp/Credential.ts"

/**
 * One request for something that is sold.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sale {
  /** Micro-dollars; nothing where only the account of who asks is to be proven. */
  readonly priceUsd: bigint
  readonly description: string | undefined
  readonly mimeType: string | undefined
  /** What the merchant's own books call what is sold. */
  readonly externalId: string | undefined
  /** The merchant's own origin. */
  readonly origin: string
  readonly realm: string
  /** The method of the request. */
  readonly method: string
  /** What is sold: the URL without its query. */
  readonly resource: string
  /** With its question mark; empty where there is none. */
  readonly query: string
  /** The field that credentials of the Payment scheme are asked for in, where it is another than `Authorization`. */
  readonly credentialHeader: string | undefined
  /** The body of the request; none where there is no body, or one that is not to be read here. */
  readonly body: Effect.Effect<Option.Option<Uint8Array>>
}

/**
 * What a demand for payment says of one way: challenges of the Payment scheme, further header fields, and members of the
 * body.
 *
 * @category models
 * @since 0.1.0
 */
export interface Demand {
  readonly challenges: ReadonlyArray<{
    /** In the words of `Accept-Payment`. */
    readonly method: string
    readonly intent: string
    /** As `WWW-Authenticate` has it. */
    readonly value: string
  }>
  readonly headers: { readonly [name: string]: string }
  readonly members: Schema.JsonObject
}

/**
 * A request is not served, and why.
 *
 * @category errors
 * @since 0.1.0
 */
export class Refused extends Data.TaggedError("PaywallRefused")<{
  /** 402 and 401 demand payment (again), others say what is wrong with the request, or with us. */
  readonly status: number
  /** The problem's type, below the Payment scheme's. */
  readonly code: string
  readonly detail: string
  /** The reason in the words of x402. */
  readonly error?: string
  readonly headers?: { readonly [name: string]: string }
  /** What the problem says beyond others of its type. */
  readonly members?: Schema.JsonObject
  /** False where asking for another payment would be wrong: this one may yet be taken. */
  readonly demands: boolean
}> {}

/**
 * Serves a request against the payment that it presents.
 *
 * @category models
 * @since 0.1.0
 */
export type Serve = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) => Effect.Effect<HttpServerResponse.HttpServerResponse, E | Refused, R | HttpServerRequest.HttpServerRequest>

/**
 * What a request presents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Presented {
  readonly headers: Headers.Headers
  /** The one credential of the Payment scheme that the headers hold. */
  readonly credential: Credential.Presented | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Way {
  /** As a demand lists it. */
  readonly protocol: "mpp" | "x402"
  /** Whether it can sell something at this price at all. */
  readonly sells: (sale: Sale) => boolean
  /** What it says in a demand; `error` is why payment is demanded. */
  readonly demand: (sale: Sale, error: string) => Effect.Effect<Demand>
  /** How to serve a request that presents a payment of this way; none if it presents none. */
  readonly presented: (sale: Sale, presented: Presented) => Option.Option<Serve>
}

/**
 * What the header field `Cache-Control` of an answer that was paid for has to say: what a shared cache keeps, others get for
 * nothing.
 *
 * @category getters
 * @since 0.1.0
 */
export const unshared = ({ headers }: HttpServerResponse.HttpServerResponse): string => {
  const said = headers["cache-control"] ?? ""
  return /(?:^|[\s,])(?:private|no-store)(?:$|[\s,])/i.test(said) ? said : "private"
}

/**
 * A price in base units of an asset, rounded up.
 *
 * @category conversions
 * @since 0.1.0
 */
export const unitsOf = ({ decimals }: Asset, usd: bigint): bigint => {
  const excess = decimals - usdDecimals
  if (excess >= 0) return usd * 10n ** BigInt(excess)
  const divisor = 10n ** BigInt(-excess)
  return (usd + divisor - 1n) / divisor
}
