/**
 * The agents that commands run with.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Agent from "../Agent.ts"
import * as Ledger from "../Ledger.ts"
import * as LedgerConfig from "../sql/LedgerConfig.ts"
import * as LedgerPath from "./LedgerPath.ts"
import type { Failure } from "./Report.ts"

/**
 * Makes an agent for one command.
 *
 * @category models
 * @since 0.1.0
 */
export type Agents = (options?: {
  /** It is asked what it would pay, and signs nothing. */
  readonly asks?: boolean
}) => Layer.Layer<Agent.Agent, Failure>

const layerAt = (place: LedgerPath.LedgerPlace) =>
  LedgerConfig.layerAt(place._tag === "File" ? Redacted.make(place.filename) : place.url)

/** One ledger for all commands of a user, so that what one of them leaves open the next one knows. */
const ledger = Layer.unwrap(Effect.map(LedgerPath.place(), layerAt))

/** Who signs nothing needs none: what a price is can be asked where there is no home. */
const ledgerIfAny = Layer.unwrap(
  Effect.flatMap(
    LedgerPath.placeIfAny(),
    Option.match({
      onNone: () =>
        Effect.as(
          Effect.logWarning(
            "no place for a ledger is known, and nothing can be paid without one: name it in MPP_LEDGER"
          ),
          Ledger.layerMemory({ quiet: true })
        ),
      onSome: (place) => Effect.succeed(layerAt(place))
    })
  )
)

/**
 * An agent of the configuration, over the `fetch` of the platform. One request is too short for a sweep.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Agents = (options = {}) =>
  Agent.layerConfigWith({ ledger: options.asks === true ? ledgerIfAny : ledger, sweep: false }).pipe(
    Layer.provide(FetchHttpClient.layer)
  )

/**
 * Agents for commands that show what a ledger says. What processes have left behind that are no more is taken up first: it is
 * nobody's work, and not shown as somebody's. Where that cannot be written, the ledger is shown as it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const showing = (agents: Agents): Agents => (options) =>
  Layer.tap(agents(options), (context) => Effect.ignore(Context.get(context, Ledger.Ledger).orphans))
