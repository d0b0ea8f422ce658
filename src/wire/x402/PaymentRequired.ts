/**
 * What both versions of x402 demand payment with: an object with the list `accepts`. Each entry of the list is judged by
 * itself, so that an entry for a network that is unknown here does not spoil the others.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Json from "../Json.ts"

/**
 * The most entries of a list that are looked at.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxEntries = 50

/**
 * A list that is longer than this is no list of ways to pay, and nothing of it is looked at.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxListed = 1_000

/**
 * One way to pay: as it was received, and what it says, or what is wrong with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry<Requirement> {
  readonly received: Schema.JsonObject
  readonly requirement: Result.Result<Requirement, string>
}

/**
 * A demand.
 *
 * @category models
 * @since 0.1.0
 */
export interface PaymentRequired<Requirement> {
  /** Why it is demanded (again), in the server's words or in a code. */
  readonly error: string | undefined
  /** What is sold, in version 2. */
  readonly resource: Schema.JsonObject | undefined
  readonly extensions: Schema.JsonObject | undefined
  readonly entries: ReadonlyArray<Entry<Requirement>>
  /** How many entries were not looked at. */
  readonly unread: number
}

const objectOr = (value: Schema.Json | undefined) => Json.isObject(value) ? value : undefined

/**
 * Reads a demand of one version; none where the object is no such demand.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromJson = <Requirement>(
  version: 1 | 2,
  decode: (entry: Schema.JsonObject) => Result.Result<Requirement, string>
) =>
(json: Schema.JsonObject): Option.Option<PaymentRequired<Requirement>> => {
  const { accepts, error, extensions, resource, x402Version } = json
  if (x402Version !== version || !Array.isArray(accepts)) return Option.none()
  const read = accepts.length > maxListed ? [] : accepts.slice(0, maxEntries)
  return Option.some({
    error: typeof error === "string" ? error : undefined,
    resource: objectOr(resource),
    extensions: objectOr(extensions),
    entries: read.map((received) =>
      Json.isObject(received)
        ? { received, requirement: decode(received) }
        : { received: {}, requirement: Result.fail("it is no object") }
    ),
    unread: accepts.length - read.length
  })
}
