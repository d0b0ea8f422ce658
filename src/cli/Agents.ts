/**
 * The agents that commands run with.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Agent from "../Agent.ts"
import * as LedgerConfig from "../sql/LedgerConfig.ts"
import * as LedgerPath from "./LedgerPath.ts"
import type { Failure } from "./Report.ts"

/**
 * Makes an agent for one command.
 *
 * @category models
 * @since 0.1.0
 */
export type Agents = () => Layer.Layer<Agent.Agent, Failure>

/** One ledger for all commands of a user, so that what one of them leaves open the next one knows. */
const ledger = Layer.unwrap(
  Effect.map(
    LedgerPath.place(),
    (place) => LedgerConfig.layerAt(place._tag === "File" ? Redacted.make(place.filename) : place.url)
  )
)

/**
 * An agent of the configuration, over the `fetch` of the platform. One request is too short for a sweep.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Agents = () =>
  Agent.layerConfigWith({ ledger, sweep: false }).pipe(Layer.provide(FetchHttpClient.layer))
