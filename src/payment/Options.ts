/**
 * What a program says of the payments that are made inside an effect.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"

/**
 * What a program says of the requests it is about to make.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How many paid requests are expected at the origin: five or more are worth a session. */
  readonly expect?: number
  /**
   * The highest price of one request: US dollars as a decimal, or micro-dollars as a bigint. Lowers the ceiling only. A fee
   * that the payer pays himself comes on top, within the limit that its rail has for it and within the budget.
   */
  readonly max?: string | bigint
  /** Names of the rails that may be used. */
  readonly rails?: ReadonlyArray<string>
  /** Names the purchase. Equal keys at one origin are one purchase, whatever is requested there. */
  readonly key?: string
  /** How the agent names itself; has its own budget window. */
  readonly agent?: string
}

/**
 * The options in force in this fiber and its children.
 *
 * @category services
 * @since 0.1.0
 */
export const CurrentOptions: Context.Reference<Options> = Context.Reference<Options>("effect-mpp/Payment/Options", {
  defaultValue: () => ({})
})

/**
 * Says something of all payments made inside an effect, including those made by a generated client that never shows its
 * requests.
 *
 * **Example** (A crawl of 25 requests, at most a cent each)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Payment from "effect-mpp/Payment"
 *
 * const options = Payment.CurrentOptions.pipe(Payment.with({ expect: 25, max: "0.01" }))
 * Effect.runSync(options) // => { expect: 25, max: "0.01" }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
const withOptions: {
  (options: Options): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Options): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Options): Effect.Effect<A, E, R> =>
    Effect.updateService(self, CurrentOptions, (outer) => ({ ...outer, ...options }))
)

export {
  /**
   * Says something of all payments made inside an effect.
   *
   * @category combinators
   * @since 0.1.0
   */
  withOptions as with
}
