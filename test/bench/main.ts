/**
 * What paying costs, per request, measured side by side in one run: `npm run bench`, with `-- --json` for one document.
 *
 * Servers run in processes of their own on 127.0.0.1; nothing of the user's environment is read, and nothing else is
 * reached. Options: `--only free|session|x402|tempo|ledger`, `--pairs N`, and `--rows N` for how many payments a full ledger has
 * made.
 */
import { Console, Context, Effect, Layer } from "effect"
import * as ConfigProvider from "effect/ConfigProvider"
import { FetchHttpClient, HttpClient } from "effect/http"
import { parseArgs } from "node:util"
import { start } from "./child.ts"
import * as Contenders from "./contenders.ts"
import * as Ledger from "./ledger.ts"
import { type Contender, type Duel, ofEffect, ofPromise, run } from "./measure.ts"
import { ledgerTables, table, toJson } from "./report.ts"

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string" },
    pairs: { type: "string" },
    rows: { type: "string" }
  }
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
  return yield* Effect.forEach(
    duels.filter(({ name }) => options.only === undefined || name === options.only),
    run
  )
})

const { json, only } = options
const all = Effect.gen(function*() {
  const results = only === "ledger" ? [] : yield* Effect.scoped(bench)
  const ledger = only === undefined || only === "ledger"
    ? yield* Ledger.run({ rows: Number(options.rows ?? 1_000_000), rounds: Number(options.pairs ?? 30) })
    : null
  if (json) return yield* Console.log(JSON.stringify(toJson(results, ledger), null, 2))
  if (results.length > 0) yield* Console.log(table(results))
  if (ledger !== null) yield* Console.log(`\n${ledgerTables(ledger)}`)
})

await all.pipe(
  Effect.scoped,
  Effect.provideService(FetchHttpClient.Fetch, Contenders.loopback),
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({}))),
  Effect.runPromise
)
process.exit()
