/**
 * Our whole agent pays servers that others wrote, and the chain says what moved.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { sha256 } from "viem"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as TestWallet from "../../src/testing/TestWallet.ts"
import * as Servers from "./official/servers.ts"
import {
  agent,
  chain,
  finalize,
  get,
  paidRequestsDuring,
  purchases,
  reasonOf,
  request,
  standing,
  sweep,
  transfersDuring
} from "./payer.ts"

const servers = [
  { name: "@x402/hono over the official facilitator", server: Servers.hono(), version: 2 },
  { name: "@x402/express over our facilitator", server: Servers.expressServer(), version: 2 },
  { name: "x402-hono of version 1 over our facilitator", server: Servers.honoV1(), version: 1 }
]

const clients = [
  { name: "fetch", client: FetchHttpClient.layer },
  { name: "Node's http", client: NodeHttpClient.layerNodeHttp },
  { name: "undici", client: NodeHttpClient.layerUndici }
]

const cent = Effect.map(Evm.EvmChain, ({ accounts }) => ({
  from: TestWallet.address,
  to: accounts[2]!.address,
  units: 10_000n
}))

const moved = (transfers: ReadonlyArray<Evm.Transfer>) => transfers.map(({ from, to, units }) => ({ from, to, units }))

const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => (at * 31 + (at >> 8)) % 256)

layer(chain(), { excludeTestServices: true, timeout: "60 seconds" })("an agent", (it) => {
  for (const { name, server, version } of servers) {
    it.layer(server)(`at ${name}`, (it) => {
      for (const { client, name } of clients) {
        it.effect(`pays for a program that knows nothing of it, by ${name}`, () =>
          Effect.gen(function*() {
            const { url } = yield* Servers.OfficialServer
            const bought = Effect.gen(function*() {
              const response = yield* HttpClient.get(`${url}/paid`)
              return { status: response.status, body: yield* response.json }
            })
            const { transfers, value } = yield* transfersDuring(bought)
            assert.deepStrictEqual(value, { status: 200, body: { secret: 42 } })
            assert.deepStrictEqual(moved(transfers), [yield* cent])
            const reference = transfers[0]!.transaction

            const [before] = yield* purchases
            assert.deepStrictEqual([before!.delivery, before!.states], ["delivered", ["settled"]])
            assert.deepStrictEqual({ ...before!.evidence[0] }, { rank: "claimed", what: "receipt", reference })

            yield* finalize
            yield* sweep
            const [after] = yield* purchases
            assert.deepStrictEqual(
              { ...after!.evidence[0] },
              { rank: "proven", what: "authorization used", reference }
            )
            assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
          }).pipe(Effect.provide(agent({ client }))))
      }

      it.effect("is given what is free, and pays nothing", () =>
        Effect.gen(function*() {
          const { transfers, value } = yield* transfersDuring(paidRequestsDuring(get("/free")))
          assert.deepStrictEqual(yield* value.value.json, { free: true })
          assert.deepStrictEqual([transfers.length, value.sent], [0, 0])
        }).pipe(Effect.provide(agent())))

      it.effect("buys ten times at once: ten purchases, ten transfers", () =>
        Effect.gen(function*() {
          const ten = Effect.forEach(
            Array.from({ length: 10 }),
            () => Effect.flatMap(get("/paid"), (response) => response.json),
            { concurrency: "unbounded" }
          )
          const { transfers, value } = yield* transfersDuring(paidRequestsDuring(ten))
          assert.deepStrictEqual(value.value, Array.from({ length: 10 }, () => ({ secret: 42 })))
          assert.deepStrictEqual([value.sent, value.signed], [10, 10])
          const one = yield* cent
          assert.deepStrictEqual(moved(transfers), Array.from({ length: 10 }, () => one))
          assert.strictEqual((yield* purchases).length, 10)
          yield* finalize
          yield* sweep
          assert.deepStrictEqual(
            (yield* purchases).map(({ evidence }) => evidence[0]?.reference).toSorted(),
            transfers.map(({ transaction }) => transaction).toSorted()
          )
          assert.isTrue((yield* purchases).every(({ evidence }) => evidence[0]?.rank === "proven"))
          assert.deepStrictEqual(yield* standing, { spent: 100_000n, exposed: 0n })
        }).pipe(Effect.provide(agent())))

      it.effect("posts its body intact to the handler, and pays once", () =>
        Effect.gen(function*() {
          const post = HttpClientRequest.post("/echo").pipe(
            HttpClientRequest.bodyUint8Array(bytes, "application/octet-stream")
          )
          const echoed = Effect.flatMap(request(post), (response) => response.arrayBuffer)
          const { transfers, value } = yield* transfersDuring(echoed)
          assert.strictEqual(sha256(new Uint8Array(value)), sha256(bytes))
          assert.deepStrictEqual(moved(transfers), [yield* cent])
        }).pipe(Effect.provide(agent())))

      it.effect("is not charged when the handler fails, sends one authorisation however often, and holds it", () =>
        Effect.gen(function*() {
          const { transfers, value } = yield* transfersDuring(paidRequestsDuring(reasonOf(get("/failing"))))
          assert.strictEqual(value.value.reason._tag, "PaymentUncertain")
          assert.strictEqual(value.value.money, "unknown")
          assert.isAbove(value.sent, 1)
          assert.strictEqual(value.signed, 1)
          assert.deepStrictEqual(transfers, [])
          assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
          const again = yield* paidRequestsDuring(reasonOf(get("/failing")))
          assert.strictEqual(again.value.paymentId, value.value.paymentId)
          assert.strictEqual(again.signed, 1)
          assert.strictEqual((yield* purchases).length, 1)
        }).pipe(Effect.provide(agent())))

      it.effect("is not charged for a payment that somebody sends again", () =>
        Effect.gen(function*() {
          const { seen, url } = yield* Servers.OfficialServer
          yield* Effect.flatMap(get("/paid"), (response) => response.json)
          const credential = (yield* seen).at(-1)!.credential!
          const header = version === 1 ? "x-payment" : "payment-signature"
          const replay = HttpClientRequest.get(`${url}/paid`).pipe(HttpClientRequest.setHeader(header, credential))
          const { transfers, value } = yield* transfersDuring(
            HttpClient.execute(replay).pipe(Effect.provide(FetchHttpClient.layer))
          )
          assert.strictEqual(value.status, 402)
          assert.deepStrictEqual(transfers, [])
        }).pipe(Effect.provide(agent())))

      if (version === 1) return

      it.effect("pays where settlement comes first", () =>
        Effect.gen(function*() {
          const { transfers, value } = yield* transfersDuring(
            Effect.flatMap(get("/upfront"), (response) => response.json)
          )
          assert.deepStrictEqual(value, { secret: 42 })
          assert.deepStrictEqual(moved(transfers), [yield* cent])
          assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
        }).pipe(Effect.provide(agent())))

      it.effect("says that it has paid for nothing where settlement comes first and the handler fails, and pays once", () =>
        Effect.gen(function*() {
          const twice = Effect.all([reasonOf(get("/upfront-failing")), reasonOf(get("/upfront-failing"))])
          const { transfers, value } = yield* transfersDuring(paidRequestsDuring(twice))
          assert.deepStrictEqual(value.value.map(({ reason }) => reason._tag), ["PaidUndelivered", "PaidUndelivered"])
          assert.deepStrictEqual(value.value.map(({ money }) => money), ["spent", "spent"])
          assert.strictEqual(value.signed, 1)
          assert.deepStrictEqual(moved(transfers), [yield* cent])
          assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
        }).pipe(Effect.provide(agent())))
    })
  }
})
