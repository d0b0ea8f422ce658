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

/**
 * One request for something that is sold.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sale {
  /** Micro-dollars; more than nothing. */
  readonly priceUsd: bigint
  readonly description: string | undefined
  readonly mimeType: string | undefined
  /** The merchant's own origin. */
  readonly origin: string
  readonly realm: string
  /** What is sold: the URL without its query. */
  readonly resource: string
}

/**
 * What a demand for payment says of one way: header fields, and members of the body.
 *
 * @category models
 * @since 0.1.0
 */
export interface Demand {
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
  /** 402 and 401 demand payment (again), others say what is wrong with us. */
  readonly status: number
  /** The problem's type, below the Payment scheme's. */
  readonly code: string
  readonly detail: string
  /** The reason in the words of x402. */
  readonly error?: string
  readonly headers?: { readonly [name: string]: string }
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
 * @category models
 * @since 0.1.0
 */
export interface Way {
  /** As a demand lists it. */
  readonly protocol: "mpp" | "x402"
  /** What it says in a demand; `error` is why payment is demanded. */
  readonly demand: (sale: Sale, error: string) => Effect.Effect<Demand>
  /** How to serve a request that presents a payment of this way; none if it presents none. */
  readonly presented: (sale: Sale, headers: Headers.Headers) => Option.Option<Serve>
}
