/**
 * What paying costs, per request, measured side by side in one run: `npm run bench`, with `-- --json` for one document.
 *
 * Servers run in processes of their own on 127.0.0.1; nothing of the user's environment is read, and nothing else is
 * reached. Options: `--only free|session|x402|tempo`, `--pairs N`.
 */
import { Console, Context, Effect, Layer } from "effect"
import * as ConfigProvider from "effect/ConfigProvider"
import { FetchHttpClient, HttpClient } from "effect/http"
import { parseArgs } from "node:util"
import { start } from "./child.ts"
import * as Contenders from "./contenders.ts"
import { type Contender, type Duel, ofEffect, ofPromise, run } from "./measure.ts"
import { table, toJson } from "./report.ts"

const { values: options } = parseArgs({
  options: { json: { type: "boolean", default: false }, only: { type: "string" }, pairs: { type: "string" } }
})

/** Round trips per request, which are what they are for a reason. Fewer where some answers of a chain are used again. */
const legs = Effect.fnUntraced(function*({ batch, name }: Contender, expected: number, cached = false) {
  const requests = 10
  yield* batch(requests)
  const before = Contenders.sent
  yield* batch(requests)
  const counted = (Contenders.sent - before) / requests
  if (cached ? counted > expected : counted !== expected) {
    return yield* Effect.die(new Error(`${name}: ${counted} round trips, expected ${expected}`))
  }
})

const bench = Effect.gen(function*() {
  const merchant = yield* start("merchant.ts", Contenders.Merchant)
  const official = yield* start("official.ts", Contenders.Official)
  const onTempo = yield* start("mppx.ts", Contenders.OnTempo)
  const clientOf = <E>(layer: Layer.Layer<HttpClient.HttpClient, E>) =>
    Effect.map(Layer.build(layer), (context) => Context.get(context, HttpClient.HttpClient))
  const plain = yield* clientOf(FetchHttpClient.layer)
  const paying = yield* clientOf(Contenders.agent(merchant, official))

  const payingOnTempo = yield* clientOf(Contenders.agentOnTempo(onTempo))

  const { bodies, fetched, mppxFetch, officialFetch, request } = Contenders
  const free = `${merchant.origin}/free`
  const paid = `${official.origin}/paid`
  const plainFree = ofEffect("plain client", request(plain, free, bodies.ours))
  const ourFree = ofEffect("free request", request(paying, free, bodies.ours))
  const ourDraw = ofEffect(
    "paid by live session",
    Contenders.expecting(request(paying, `${merchant.origin}/sold`, bodies.ours))
  )
  const theirX402 = ofPromise("@x402/fetch", fetched(officialFetch(official), paid, bodies.official))
  const ourX402 = ofEffect("ours", request(paying, paid, bodies.official))
  const charge = `${onTempo.origin}/plain`
  const theirTempo = ofPromise("mppx", fetched(mppxFetch(onTempo), charge, bodies.official))
  const ourTempo = ofEffect("ours", request(payingOnTempo, charge, bodies.official))
  const pairs = Number(options.pairs ?? 60)
  const ours = { crowd: true, size: 100, pairs }
  const duels: ReadonlyArray<Duel> = [
    { ...ours, name: "free", base: plainFree, ours: { ...ourFree, name: "paying client" }, target: 1.05 },
    { ...ours, name: "session", base: ourFree, ours: ourDraw, target: 1.15 },
    // the official facilitator settles one by one
    { name: "x402", base: theirX402, ours: ourX402, target: 1, crowd: false, size: 10, pairs },
    // so does the chain
    { name: "tempo", base: theirTempo, ours: ourTempo, target: 1, crowd: false, size: 10, pairs }
  ]
  for (
    const [contender, expected] of [[plainFree, 1], [ourFree, 1], [ourDraw, 1], [theirX402, 2], [ourX402, 2]] as const
  ) {
    yield* legs(contender, expected)
  }
  yield* legs(ourTempo, 3, true)
  const results = yield* Effect.forEach(
    duels.filter(({ name }) => options.only === undefined || name === options.only),
    run
  )
  yield* Console.log(options.json ? JSON.stringify(toJson(results), null, 2) : table(results))
})

await bench.pipe(
  Effect.scoped,
  Effect.provideService(FetchHttpClient.Fetch, Contenders.loopback),
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({}))),
  Effect.runPromise
)
process.exit()
