import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as Session from "../../src/Session.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { directory } from "../sql/temporary.ts"
import { type Instead, makeChain, makeShop, price, problem, receipt, ticking, walk, wallet } from "./channels.ts"
import { chainOf } from "./exact.ts"
import * as tempo from "./tempo.ts"

const expires = "1970-01-02T00:00:00Z"

/** A whole agent, in front of one merchant. */
const agentOf = (
  chain: ReturnType<typeof makeChain>,
  shop: ReturnType<typeof makeShop>,
  ledger: Layer.Layer<Ledger.Ledger, unknown>
) =>
  Agent.layer({
    budget: Budget.make({ limit: "5", window: "1 hour" }),
    rails: TempoSession.layer({ allowEphemeral: true }).pipe(Layer.provide([wallet, chainOf([chain.node])])),
    ledger,
    policy: { networks: [tempo.network] },
    sweep: false
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, shop.client)))

/** Runs a program with an agent of its own. */
const paying = Effect.fnUntraced(function*<A, E>(
  program: (
    world: { readonly chain: ReturnType<typeof makeChain>; readonly shop: ReturnType<typeof makeShop> }
  ) => Effect.Effect<
    A,
    E,
    PayingClient.PayingClient | Ledger.Ledger | Session.Session | Reconciler.Reconciler
  >,
  change: tempo.Change = {}
) {
  const chain = makeChain()
  const shop = makeShop(chain, { ...change, challenge: { expires, ...change.challenge } })
  const agent = agentOf(chain, shop, Ledger.layerMemory({ quiet: true }))
  return yield* ticking(Effect.provide(program({ chain, shop }), agent))
})

const send = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest) {
  const client = yield* PayingClient.PayingClient
  const response = yield* client.execute(request)
  return response.status
}, Payment.with({ expect: 50 }))

const get = send(HttpClientRequest.get(`${tempo.origin}/data`))

/** Another purchase of the same. */
const other = send(HttpClientRequest.get(`${tempo.origin}/data?page=2`))

const failing = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const found = error instanceof PaymentError.PaymentError ? error : undefined
    return `${found?.reason._tag} ${found?.money}`
  })

const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)

const closeAll = Session.Session.use((session) => session.closeAll)

/** What the merchant was shown since, in words. */
const after = (shop: ReturnType<typeof makeShop>, from: number) => walk(shop.seen.slice(from))

const carriedOut: Instead = (_, carryOut) => carryOut
const lost: Instead = (_, carryOut) => Effect.as(carryOut, "lost")
const failed = (status: number): Instead => () => Effect.succeed(new Response(null, { status }))
const refusing = (status: number, code: string): Instead => () => Effect.succeed(problem(status, code))

describe("paying by channel", () => {
  it.effect("opens one channel, attaches a voucher to each request, and ends with the figure of the chain", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        for (let nth = 0; nth < 3; nth++) assert.strictEqual(yield* get, 200)
        yield* closeAll
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 3n * price })
        assert.deepStrictEqual(walk(shop.seen), [
          "GET - 402",
          "HEAD open 10000 204",
          "GET voucher 10000 200",
          "GET voucher 20000 200",
          "GET voucher 30000 200",
          "HEAD - 402",
          "HEAD close 30000 204"
        ])
      })
    ))

  it.effect("does not open a second channel while it is not known whether there is a first", () =>
    paying(({ chain, shop }) =>
      Effect.gen(function*() {
        shop.script.next = Array.from({ length: 9 }, () => refusing(402, "verification-failed"))
        assert.strictEqual(yield* failing(get), "PaymentRejected held")
        assert.isTrue((yield* standing).exposed > 0n)
        for (let nth = 0; nth < 3; nth++) yield* failing(get)
        assert.strictEqual(shop.seen.filter(({ payload }) => payload?.action === "open").length, 1)
        // When it can never come any more, the money is back, and another may be opened.
        yield* Effect.sleep("1 minute")
        yield* Reconciler.Reconciler.use(({ sweep }) => sweep)
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
        shop.script.next = []
        assert.strictEqual(yield* get, 200)
        assert.strictEqual(chain.channels.size, 1)
      })
    ))

  it.effect("closes a channel whose opening was not answered, and has its money back", () =>
    paying(({ chain, shop }) =>
      Effect.gen(function*() {
        shop.script.next = [lost]
        assert.strictEqual(yield* failing(get), "Unavailable held")
        yield* Reconciler.Reconciler.use(({ sweep }) => sweep)
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
        assert.deepStrictEqual([...chain.channels.values()].map(({ deposit }) => deposit), [0n])
      })
    ))

  it.effect("asks again with the same voucher when the answer was lost or the server failed, and pays once", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        const from = shop.seen.length
        shop.script.next = [failed(500), () => Effect.succeed("lost"), failed(503), carriedOut]
        assert.strictEqual(yield* get, 200)
        assert.deepStrictEqual(after(shop, from), [
          "GET voucher 20000 500",
          "GET voucher 20000 lost",
          "GET voucher 20000 503",
          "GET voucher 20000 200"
        ])
        yield* closeAll
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 2n * price })
      })
    ))

  it.effect("does not raise the voucher of a request that was perhaps carried out", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        const from = shop.seen.length
        shop.script.next = [lost]
        assert.strictEqual(yield* failing(get), "PaymentRejected held")
        assert.isTrue(
          shop.seen.slice(from).every(({ payload }) =>
            payload?.action === "voucher" && payload.cumulativeAmount === 2n * price
          )
        )
        yield* closeAll
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 2n * price })
      })
    ))

  it.effect("raises the voucher once for the next request, and then stops", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        shop.script.next = [failed(404)]
        yield* failing(get)
        const from = shop.seen.length
        shop.script.next = Array.from({ length: 9 }, () => refusing(402, "session/insufficient-balance"))
        yield* failing(other)
        assert.deepStrictEqual(after(shop, from).filter((line) => line.includes("voucher")), [
          "GET voucher 20000 402",
          "GET voucher 30000 402"
        ])
      })
    ))

  it.effect("does not take for its own draw what the receipt counts for one of the process before", () =>
    Effect.gen(function*() {
      const chain = makeChain()
      const shop = makeShop(chain, { challenge: { expires } })
      const filename = join(yield* directory, "ledger.sqlite")
      const agent = agentOf(chain, shop, LedgerSql.layerSqlite({ filename, lease: "400 days" }))
      const first = Effect.gen(function*() {
        yield* get
        shop.script.next = [lost]
        assert.strictEqual(yield* failing(get), "PaymentRejected held")
      })
      const second = Effect.gen(function*() {
        shop.script.next = [failed(404)]
        assert.strictEqual(yield* failing(other), "PaymentUncertain unknown")
        assert.strictEqual(yield* send(HttpClientRequest.get(`${tempo.origin}/data?page=3`)), 200)
        const states = (yield* Ledger.Ledger.use((ledger) => ledger.purchases({})))
          .map(({ authorizations }) => authorizations.map(({ state }) => state).join())
        assert.deepStrictEqual(states, ["settled", "unknown", "rejected", "settled"])
      })
      yield* ticking(Effect.provide(first, agent))
      yield* ticking(Effect.provide(second, Layer.fresh(agent)))
      assert.strictEqual(chain.channels.size, 1)
    }).pipe(Effect.scoped))

  it.effect("has never promised more than four prices that nobody has delivered for", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        shop.script.next = Array.from({ length: 500 }, (): Instead => (seen) =>
          Effect.succeed(
            seen.payload?.action === "voucher"
              ? problem(402, "session/insufficient-balance")
              : new Response(null, { status: 500 })
          ))
        for (let nth = 0; nth < 12; nth++) yield* failing(get)
        const highest = shop.seen.reduce(
          (most, { payload }) =>
            payload?.action === "voucher" && payload.cumulativeAmount > most ? payload.cumulativeAmount : most,
          0n
        )
        assert.isAtMost(Number(highest / price), 5)
        assert.strictEqual(shop.seen.filter(({ payload }) => payload?.action === "open").length, 1)
      })
    ))

  for (
    const answer of [
      refusing(410, "session/channel-not-found"),
      failed(410),
      refusing(402, "session/invalid-signature")
    ]
  ) {
    it.effect("gives up a channel that the server does not know or believe, and shows it no voucher more", () =>
      paying(({ shop }) =>
        Effect.gen(function*() {
          yield* get
          const [{ payload }] = shop.seen.filter(({ payload }) => payload?.action === "open") as [typeof shop.seen[0]]
          shop.script.next = [answer]
          yield* failing(get)
          yield* Effect.sleep("1 minute")
          const from = shop.seen.length
          yield* get
          const shown = shop.seen.slice(from).flatMap(({ payload }) => payload === undefined ? [] : [payload])
          assert.deepStrictEqual(shown.map(({ action }) => action), ["open", "voucher"])
          assert.isTrue(shown.every(({ channelId }) => channelId !== payload?.channelId))
        })
      ))
  }

  it.effect("answers a fresh challenge with the same voucher where the old one is not taken", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        const from = shop.seen.length
        shop.script.next = [refusing(402, "session/challenge-not-found")]
        assert.strictEqual(yield* get, 200)
        assert.deepStrictEqual(after(shop, from), ["GET voucher 20000 402", "GET - 402", "GET voucher 20000 200"])
        const [old, , fresh] = shop.seen.slice(from)
        assert.notStrictEqual(old!.challenge!.id, fresh!.challenge!.id)
        yield* closeAll
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 2n * price })
      })
    ))

  it.effect("does not answer a fresh challenge that asks for more", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        shop.script.challenge = { challenge: { expires }, request: { amount: "40000" } }
        const from = shop.seen.length
        shop.script.next = [refusing(402, "session/challenge-not-found")]
        yield* Effect.exit(get)
        const figures = shop.seen.slice(from).flatMap(({ challenge, payload }) =>
          payload?.action === "voucher" ? [[payload.cumulativeAmount, challenge!.id]] : []
        )
        assert.deepStrictEqual(figures, [[2n * price, "challenge-1"]])
      })
    ))

  const lies: ReadonlyArray<readonly [string, (id: `0x${string}`, nth: bigint) => string]> = [
    ["falls", (id, nth) => receipt(id, (nth + 1n) * price, 0n)],
    ["exceeds what was signed", (id) => receipt(id, 900_000n, 900_000n)],
    ["is of another channel", () => receipt(`0x${"12".repeat(32)}`, price, price)]
  ]
  for (const [what, lie] of lies) {
    it.effect(`hands out content whose receipt ${what}, flags it, and goes on as if it had not been written`, () =>
      paying(({ shop }) =>
        Effect.gen(function*() {
          yield* get
          shop.script.next = [(seen, carryOut) =>
            Effect.map(carryOut, () =>
              new Response("{}", {
                status: 200,
                headers: { "payment-receipt": lie(seen.payload!.channelId, 1n) }
              }))]
          assert.strictEqual(yield* get, 200)
          const from = shop.seen.length
          assert.strictEqual(yield* get, 200)
          assert.deepStrictEqual(after(shop, from), ["GET voucher 20000 402", "GET voucher 30000 200"])
          const evidence = (yield* Ledger.Ledger.use((ledger) => ledger.purchases({}))).flatMap(({ authorizations }) =>
            authorizations.flatMap(({ evidence }) => evidence)
          )
          assert.strictEqual(evidence.filter(({ mismatch }) => mismatch === true).length, 1)
          yield* closeAll
          assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 3n * price })
        })
      ))
  }

  it.effect("attaches nothing to requests that servers take for the management of a channel", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* get
        const post = HttpClientRequest.post(`${tempo.origin}/data`)
        const withBody = HttpClientRequest.bodyText(post, "a question")
        for (const [request, first] of [[post, "POST - 402"], [withBody, "POST voucher"]] as const) {
          assert.strictEqual(yield* send(request), 200)
          const from = shop.seen.length
          assert.strictEqual(yield* send(request), 200)
          assert.isTrue(after(shop, from)[0]!.startsWith(first))
        }
        const from = shop.seen.length
        yield* Effect.exit(send(HttpClientRequest.head(`${tempo.origin}/data`)))
        assert.strictEqual(after(shop, from)[0], "HEAD - 402")
      })
    ))

  it.effect("leaves the authorization of the program as it is", () =>
    paying(({ shop }) =>
      Effect.gen(function*() {
        yield* Effect.exit(
          send(
            HttpClientRequest.setHeader(HttpClientRequest.get(`${tempo.origin}/data`), "authorization", "Bearer mine")
          )
        )
        assert.isTrue(shop.seen.length > 0)
        assert.isTrue(
          shop.seen.every(({ headers, method }) => method === "HEAD" || headers.authorization === "Bearer mine")
        )
        assert.isTrue(shop.seen.every(({ payload }) => payload?.action !== "voucher"))
      })
    ))

  it.effect("lets thirty-two fibers pay one after another: every voucher is higher than the one before", () =>
    paying(({ chain, shop }) =>
      Effect.gen(function*() {
        const statuses = yield* Effect.all(Array.from({ length: 32 }, () => get), { concurrency: "unbounded" })
        assert.deepStrictEqual(new Set(statuses), new Set([200]))
        const figures = shop.seen.flatMap(({ payload, status }) =>
          payload?.action === "voucher" ? [`${payload.cumulativeAmount} ${status}`] : []
        )
        assert.deepStrictEqual(figures, Array.from({ length: 32 }, (_, nth) => `${BigInt(nth + 1) * price} 200`))
        assert.strictEqual(chain.channels.size, 1)
        yield* closeAll
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 32n * price })
      })
    ))
})
