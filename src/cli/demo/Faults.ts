/**
 * What goes wrong at the merchant, and what the merchant saw: a middleware in front of its routes.
 *
 * @since 0.1.0
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"

/**
 * How the merchant misbehaves while a fault is injected.
 *
 * - `rate-limit`: the first paid request is answered 429, with `Retry-After: 1`; nothing is taken
 * - `refuse-tokens`: every request that carries a session token is answered 503; nothing is taken
 * - `settle-and-cut`: the connection breaks while the payment is settled, and breaks again whenever it comes back
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = "rate-limit" | "refuse-tokens" | "settle-and-cut"

/**
 * A request to the merchant.
 *
 * @category models
 * @since 0.1.0
 */
export interface Visit {
  readonly credential: "none" | "token" | "x402"
  /** The status of the answer; `cut` if there was none. */
  readonly answer: number | "cut"
}

interface State {
  readonly fault: Fault | undefined
  /** How often this fault was met. */
  readonly met: number
  readonly visits: ReadonlyArray<Visit>
}

/**
 * @category services
 * @since 0.1.0
 */
export class Faults extends Context.Service<Faults, {
  /** Runs an effect while the merchant misbehaves. */
  readonly during: (fault: Fault) => <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Every request since the last time that this was asked. */
  readonly visits: Effect.Effect<ReadonlyArray<Visit>>
  /** The fault that this request meets, and how often it was met before. */
  readonly meet: (
    credential: Visit["credential"]
  ) => Effect.Effect<{ readonly fault: Fault | undefined; readonly before: number }>
  readonly saw: (visit: Visit) => Effect.Effect<void>
}>()("effect-mpp/cli/demo/Faults") {
  static readonly layer: Layer.Layer<Faults> = Layer.effect(
    Faults,
    Effect.map(Ref.make<State>({ fault: undefined, met: 0, visits: [] }), (state) => {
      const set = (fault: Fault | undefined) => Ref.update(state, (now) => ({ ...now, fault, met: 0 }))
      return Faults.of({
        during: (fault) => (effect) => Effect.acquireUseRelease(set(fault), () => effect, () => set(undefined)),
        visits: Ref.modify(state, (now) => [now.visits, { ...now, visits: [] }]),
        meet: (credential) =>
          Ref.modify(
            state,
            (now) =>
              credential === "none"
                ? [{ fault: undefined, before: 0 }, now]
                : [{ fault: now.fault, before: now.met }, { ...now, met: now.met + 1 }]
          ),
        saw: (visit) => Ref.update(state, (now) => ({ ...now, visits: [...now.visits, visit] }))
      })
    })
  )
}

/** Whether the connection of this request breaks while it is served. */
const BreaksOff = Context.Reference<boolean>("effect-mpp/cli/demo/Faults/BreaksOff", { defaultValue: () => false })

const credentialOf = ({ headers }: HttpServerRequest.HttpServerRequest): Visit["credential"] =>
  /^payment\s/i.test(headers["authorization"] ?? "")
    ? "token"
    : headers["payment-signature"] !== undefined || headers["x-payment"] !== undefined
    ? "x402"
    : "none"

const busy = HttpServerResponse.text("slow down", { status: 429, headers: { "retry-after": "1" } })
const unavailable = HttpServerResponse.text("tokens cannot be taken at the moment", { status: 503 })

const cut = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
  Effect.sync(() => {
    NodeHttpServerRequest.toIncomingMessage(request).socket.destroy()
  }))

/**
 * Notes every request to the routes beside it, and does what the injected fault says.
 *
 * @category middleware
 * @since 0.1.0
 */
export const middleware = HttpRouter.middleware(
  Effect.map(Faults, ({ meet, saw }) => (handler) =>
    Effect.gen(function*() {
      const credential = credentialOf(yield* HttpServerRequest.HttpServerRequest)
      const { before, fault } = yield* meet(credential)
      const answer = (response: HttpServerResponse.HttpServerResponse) =>
        Effect.as(saw({ credential, answer: response.status }), response)
      if (fault === "rate-limit" && before === 0) return yield* answer(busy)
      if (fault === "refuse-tokens" && credential === "token") return yield* answer(unavailable)
      if (fault !== "settle-and-cut") return yield* Effect.flatMap(handler, answer)
      yield* saw({ credential, answer: "cut" })
      return before === 0
        ? yield* Effect.provideService(handler, BreaksOff, true)
        // nobody is there to read it
        : yield* Effect.as(cut, unavailable)
    })),
  { global: true }
)

/**
 * Serves what was sold. The fault that breaks the connection breaks it here: the payment is verified, and settled next.
 *
 * @category middleware
 * @since 0.1.0
 */
export const whileServing = <E, R>(handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(BreaksOff, (breaks) => breaks ? Effect.andThen(cut, handler) : handler)
