/**
 * The client that never pays: the only thing in the library that asks for `HttpClient`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as HttpClient from "effect/http/HttpClient"

/**
 * @category services
 * @since 0.1.0
 */
export class Transport extends Context.Service<Transport, HttpClient.HttpClient>()("effect-mpp/Transport") {}
