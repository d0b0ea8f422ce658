/**
 * The agents that commands run with.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Agent from "../Agent.ts"
import * as Ledger from "../Ledger.ts"
import * as Rails from "../Rails.ts"
import * as Environment from "./Environment.ts"
import type { Failure } from "./Report.ts"

/**
 * Makes an agent for one command. One that may pay warns where its ledger does not outlive it.
 *
 * @category models
 * @since 0.1.0
 */
export type Agents = (options: { readonly pays: boolean }) => Layer.Layer<Agent.Agent, Failure>

/** Whoever can pay must know that a crash forgets what was paid. */
const warn = Layer.effectDiscard(
  Effect.flatMap(Rails.Rails, (rails) =>
    Effect.flatMap(rails.all, (all) =>
      all.length === 0
        ? Effect.void
        : Effect.logWarning(
          "this version keeps its ledger in memory: a process that dies forgets what it signed, and a repeated request " +
            "may then be paid twice"
        )))
)

/**
 * An agent of the configuration, over the `fetch` of the platform. One request is too short for a sweep.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Agents = ({ pays }) => {
  const agent = Layer.unwrap(Effect.as(
    Environment.checkLedger,
    Agent.layerConfigWith({ ledger: Ledger.layerMemory({ quiet: true }), sweep: false })
  )).pipe(Layer.provide(FetchHttpClient.layer))
  return pays ? Layer.provideMerge(warn, agent) : agent
}
