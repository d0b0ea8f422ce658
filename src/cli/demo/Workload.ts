/**
 * The same requests by each way to pay, one after the other.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Budget from "../../Budget.ts"
import * as Payment from "../../Payment.ts"
import * as ExactEvm from "../../rails/ExactEvm.ts"
import * as TokenSession from "../../rails/TokenSession.ts"
import { failed } from "./DemoFailed.ts"
import { timed } from "./Loopback.ts"
import * as Merchant from "./Merchant.ts"
import * as Payer from "./Payer.ts"
import { duration, percentile, SetUp, Workload } from "./Report.ts"
import { Screen } from "./Screen.ts"

/** Twice what a session for all requests would be authorised for, so that the budget is in nobody's way. */
const planFor = (requests: number) =>
  Budget.make({ limit: 4n * Merchant.priceUsd * BigInt(requests), window: "1 hour" })

const measure = Effect.fnUntraced(function*(payer: Payer.Options, rail: string, requests: number) {
  const screen = yield* Screen
  const millis: Array<number> = []
  for (let page = 1; page <= requests; page++) {
    const { millis: taken } = yield* timed(Payer.fetchPage(page))
    millis.push(taken)
    const text = `  ${payer.name}: ${page} of ${requests} paid for, ${duration(taken)} for the last`
    yield* screen.progress(text, page, requests)
  }
  const legs = yield* Payer.legs
  const { money, sessions } = yield* Payer.settle(payer)
  return new Workload({
    name: payer.name,
    rail,
    requests: millis.length,
    p50Millis: percentile(millis, 0.5),
    p95Millis: percentile(millis, 0.95),
    totalMillis: millis.reduce((sum, one) => sum + one, 0),
    roundTrips: legs.merchant.length,
    setUp: new SetUp({
      sessions: sessions.length,
      millis: legs.endpoint.reduce((sum, leg) => sum + leg.millis, 0),
      authorizedUsd: sessions.reduce((sum, { limitUsd }) => sum + limitUsd, 0n)
    }),
    money
  })
})

/**
 * Each request is paid for alone, by x402.
 *
 * @category constructors
 * @since 0.1.0
 */
export const perRequest = (requests: number) => {
  const payer: Payer.Options = { name: "per request", plan: planFor(requests), sessions: false }
  return measure(payer, ExactEvm.name, requests).pipe(
    Effect.provide(Payer.layer(payer)),
    Effect.mapError(failed("The requests by x402 failed"))
  )
}

/**
 * All requests are paid for by one session; x402 would be there, if the session were not.
 *
 * @category constructors
 * @since 0.1.0
 */
export const session = (requests: number) => {
  const payer: Payer.Options = { name: "session", plan: planFor(requests), sessions: true }
  return measure(payer, TokenSession.name, requests).pipe(
    Payment.with({ expect: requests }),
    Effect.provide(Payer.layer(payer)),
    Effect.mapError(failed("The requests by session failed"))
  )
}
