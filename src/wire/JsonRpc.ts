/**
 * What a JSON-RPC peer answered, as somebody else's parser has left it: any value, of any depth.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import * as Json from "./Json.ts"

/**
 * The error of a response.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResponseError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/**
 * A response: a result, or an error.
 *
 * @category models
 * @since 0.1.0
 */
export interface Response {
  readonly result?: unknown
  readonly error?: ResponseError
}

const isJson = (value: unknown, depth: number): value is Schema.Json =>
  typeof value === "object" && value !== null
    ? depth > 0 && Object.values(value).every((one) => isJson(one, depth - 1))
    : value === null || typeof value === "string" || typeof value === "boolean" ||
      (typeof value === "number" && Number.isFinite(value))

/**
 * A value as a JSON object of at most {@link Json.maxDepth} levels whose numbers are all finite.
 *
 * **Example** (What is no object, or too deep)
 *
 * ```ts
 * import * as JsonRpc from "effect-mpp/wire/JsonRpc"
 *
 * JsonRpc.object({ a: 1 })._tag // => "Some"
 * JsonRpc.object({ a: 1 / 0 })._tag // => "None"
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const object = (value: unknown): Option.Option<Schema.JsonObject> =>
  isJson(value, Json.maxDepth) && Json.isObject(value) ? Option.some(value) : Option.none()

/**
 * A member of an object; `undefined` where the value is no object, or has no such member.
 *
 * @category getters
 * @since 0.1.0
 */
export const member = (value: unknown, name: string): unknown =>
  Predicate.isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

/**
 * What the metadata of a result (`_meta`) says under a key, if it is an object.
 *
 * @category getters
 * @since 0.1.0
 */
export const metadata = (result: unknown, key: string): Option.Option<Schema.JsonObject> =>
  object(member(member(result, "_meta"), key))

/**
 * Whether every number is written again as it came: safe integers are. A parser has read what a stranger wrote with more
 * digits than a number holds, and nobody can tell any more.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isExact = (value: Schema.Json): boolean =>
  typeof value === "number"
    ? Number.isSafeInteger(value) && !Object.is(value, -0)
    : typeof value !== "object" || value === null || Object.values(value).every(isExact)
