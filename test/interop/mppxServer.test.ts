/**
 * Our whole agent pays servers of mppx in every mode that they have: what the chains say moved, what the servers say they
 * took and what the ledger says was spent are the same to the unit.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schedule } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import type { Address } from "viem"
import * as Payment from "../../src/Payment.ts"
import type * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as TempoWire from "../../src/wire/mpp/TempoCharge.ts"
import { agent, buy, chains, chainsOf, during, finalize } from "./mppxPayer.ts"
import * as Shops from "./official/mppxShops.ts"
import { purchases, reasonOf, standing, sweep } from "./payer.ts"

const content = { secret: 42 }

const paidTo = (to: string, units: bigint) => ({ to: to.toLowerCase(), units })

const moved = (transfers: ReadonlyArray<Tempo.Transfer>) => transfers.map(({ to, units }) => paidTo(to, units))

const whole = [paidTo(Shops.payee, Shops.units)]

/** What the splits of a price leave for the payee, and the splits. */
const shared = (splits: ReadonlyArray<{ readonly amount: string; readonly recipient: Address }>) => {
  const parts = splits.map(({ amount, recipient }) => paidTo(recipient, BigInt(Math.round(Number(amount) * 1e6))))
  return [paidTo(Shops.payee, Shops.units - parts.reduce((sum, { units }) => sum + units, 0n)), ...parts]
}

/**
 * Buys so often at once, and waits until what was sold is mined: not every merchant waits himself. What is not mined in time
 * is seen where the chain is counted.
 */
const mined = Effect.fnUntraced(function*(path: string, count: number) {
  const { sales } = yield* Shops.MppxShops
  const { rpc } = yield* Tempo.TempoChain
  const bought = yield* Effect.replicateEffect(buy(path), count, { concurrency: "unbounded" })
  const references = (yield* sales).slice(-count).map(({ reference }) => reference)
  const receipts = Effect.forEach(references, (reference) => rpc("eth_getTransactionReceipt", [reference]))
  yield* Effect.repeat(receipts, {
    until: (all) => all.every((receipt) => receipt !== null),
    schedule: Schedule.upTo(Schedule.spaced("50 millis"), { times: 200 })
  })
  return bought
})

/** Once the chain has had its say, so many purchases are settled by proof, and their money is what the account lacks. */
const settled = Effect.fnUntraced(function*(paid: bigint, count = 1) {
  yield* finalize
  yield* sweep
  const all = yield* purchases
  assert.deepStrictEqual(all.map(({ states }) => states), Array.from({ length: count }, () => ["settled"]))
  assert.isTrue(all.every(({ evidence }) => evidence[0]?.rank === "proven"))
  assert.deepStrictEqual(yield* standing, { spent: paid, exposed: 0n })
})

const modes: ReadonlyArray<{
  readonly name: string
  readonly path: string
  readonly transfers: ReadonlyArray<{ readonly to: string; readonly units: bigint }>
  readonly tempo?: TempoCharge.Options
}> = [
  { name: "who leaves it to the client who broadcasts", path: "/plain", transfers: whole },
  { name: "who leaves it to the client, which does", path: "/plain", transfers: whole, tempo: { mode: "push" } },
  { name: "who broadcasts", path: "/pull", transfers: whole },
  { name: "who does not broadcast", path: "/push", transfers: whole },
  { name: "who does not wait for the block", path: "/optimistic", transfers: whole },
  { name: "who pays the fee", path: "/sponsored", transfers: whole },
  { name: "who shares with two", path: "/split-two", transfers: shared(Shops.splits.two) },
  {
    name: "who shares with two, and leaves it to the client to broadcast, which does",
    path: "/split-two",
    transfers: shared(Shops.splits.two),
    tempo: { mode: "push" }
  },
  { name: "who shares with ten", path: "/split-ten", transfers: shared(Shops.splits.ten) }
]

const World = Shops.layer.pipe(Layer.provideMerge(chains))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("an agent at mppx", (it) => {
  for (const { name, path, tempo = {}, transfers } of modes) {
    it.effect(`pays a merchant ${name}`, () =>
      Effect.gen(function*() {
        const bought = yield* during(mined(path, 1))
        assert.deepStrictEqual(bought.value, [content])
        assert.deepStrictEqual([bought.sent, bought.signed], [1, 1])
        assert.deepStrictEqual(moved(bought.transfers), transfers)
        const reference = bought.transfers[0]!.transaction
        assert.isTrue(bought.transfers.every(({ transaction }) => transaction === reference))
        assert.deepStrictEqual(bought.sales, [{ path, method: "tempo/charge", amount: Shops.units, reference }])
        assert.strictEqual((yield* purchases)[0]!.evidence[0]?.reference, reference)
        yield* settled(bought.paid.tempo)
        if (path === "/sponsored") assert.strictEqual(bought.paid.tempo, Shops.units)
        else assert.isTrue(bought.paid.tempo > Shops.units, "the fee is the payer's")
      }).pipe(Effect.provide(agent({ tempo }))))
  }

  it.effect("writes the memos that its merchants ask for, and its own name", () =>
    Effect.gen(function*() {
      const { transfers } = yield* during(buy("/split-two"))
      const [first, second, third] = transfers.map(({ memo }) => memo)
      const [named] = Shops.splits.two
      assert.deepStrictEqual([second, third], [named!.memo, undefined])
      const clientId = TempoWire.attribution({ realm: "", challengeId: "", clientId: "an agent" }).slice(32, 52)
      assert.strictEqual(first?.slice(32, 52), clientId)
    }).pipe(Effect.provide(agent({ tempo: { clientId: "an agent" } }))))

  it.effect("pays a sponsored charge out of an account that holds the price and nothing else", () =>
    Effect.gen(function*() {
      const { balance } = yield* Tempo.TempoChain
      const before = yield* balance(Shops.sponsor)
      const bought = yield* during(buy("/sponsored"))
      assert.deepStrictEqual(bought.value, content)
      assert.strictEqual(bought.paid.tempo, Shops.units)
      assert.isTrue((yield* balance(Shops.sponsor)) < before)
      yield* settled(Shops.units)
    }).pipe(Effect.provide(agent({ funds: Shops.units }))))

  it.effect("proves its account where nothing is charged", () =>
    Effect.gen(function*() {
      const ten = Effect.replicateEffect(buy("/proof"), 10, { concurrency: "unbounded" })
      const bought = yield* during(Effect.all([buy("/proof"), ten]))
      assert.deepStrictEqual(bought.value, [content, Array.from({ length: 10 }, () => content)])
      assert.deepStrictEqual([bought.sent, bought.signed], [11, 11])
      assert.deepStrictEqual([bought.paid, bought.transfers], [{ tempo: 0n, evm: 0n }, []])
      assert.deepStrictEqual(bought.sales.map(({ amount }) => amount), Array.from({ length: 11 }, () => 0n))
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
    }).pipe(Effect.provide(agent({ funds: 0n }))))

  it.effect("does not prove its account to a realm that is not the server's host", () =>
    Effect.gen(function*() {
      const asked = yield* during(reasonOf(buy("/foreign-realm")))
      assert.deepInclude(asked.value.reason, { _tag: "PolicyDenied", rule: "realm-mismatch" })
      assert.strictEqual(asked.sent, 0)
    }).pipe(Effect.provide(agent())))

  it.effect("proves it to a realm that the program has listed for the server", () =>
    Effect.gen(function*() {
      const { url } = yield* Shops.MppxShops
      const bought = Effect.provide(buy("/foreign-realm"), agent({ tempo: { realms: { [url]: Shops.foreignRealm } } }))
      assert.deepStrictEqual(yield* bought, content)
    }))

  for (const { name, path, tempo = {}, transfers } of modes) {
    it.effect(`buys ten times at once of a merchant ${name}: ten purchases, ten transactions`, () =>
      Effect.gen(function*() {
        const bought = yield* during(mined(path, 10))
        assert.deepStrictEqual(bought.value, Array.from({ length: 10 }, () => content))
        assert.deepStrictEqual([bought.sent, bought.signed], [10, 10])
        assert.deepStrictEqual(moved(bought.transfers), Array.from({ length: 10 }, () => transfers).flat())
        const transactions = [...new Set(bought.transfers.map(({ transaction }) => transaction))].toSorted()
        assert.strictEqual(transactions.length, 10)
        assert.deepStrictEqual(bought.sales.map(({ reference }) => reference).toSorted(), transactions)
        yield* settled(bought.paid.tempo, 10)
        assert.deepStrictEqual(
          (yield* purchases).map(({ evidence }) => evidence[0]?.reference).toSorted(),
          transactions
        )
      }).pipe(Effect.provide(agent({ tempo }))))
  }

  it.effect("is refused, and loses nothing, where its credential is presented by somebody else", () =>
    Effect.gen(function*() {
      const { url } = yield* Shops.MppxShops
      const replayed = Effect.fnUntraced(function*(path: string) {
        const { credentials } = yield* during(buy(path))
        const replay = HttpClientRequest.get(`${url}${path}`).pipe(
          HttpClientRequest.setHeader("authorization", credentials[0]!)
        )
        const { paid, value } = yield* during(
          HttpClient.execute(replay).pipe(Effect.provide(FetchHttpClient.layer))
        )
        return [value.status, paid.tempo]
      })
      assert.deepStrictEqual(yield* replayed("/plain"), [402, 0n])
      assert.deepStrictEqual(yield* replayed("/push"), [402, 0n])
      assert.deepStrictEqual(yield* replayed("/sponsored"), [402, 0n])
    }).pipe(Effect.provide(agent())))

  for (const [name, funds] of [["nothing", 0n], ["the price and no fee", Shops.units]] as const) {
    it.effect(`is told of insufficient funds if it has ${name}, and has signed nothing`, () =>
      Effect.gen(function*() {
        const asked = yield* during(Effect.all([reasonOf(buy("/plain")), reasonOf(buy("/push"))]))
        for (const { money, reason } of asked.value) {
          assert.strictEqual(reason._tag, "InsufficientFunds")
          assert.strictEqual(money, "unspent")
          if (reason._tag === "InsufficientFunds") {
            assert.strictEqual(reason.available, funds)
            assert.isTrue(reason.needed > Shops.units)
          }
        }
        assert.deepStrictEqual([asked.sent, asked.paid.tempo], [0, 0n])
        assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
        assert.deepStrictEqual(yield* purchases, [])
      }).pipe(Effect.provide(agent({ funds }))))
  }

  it.effect("counts what the server could not take as held, not as spent, where four want what is there for two", () =>
    Effect.gen(function*() {
      const outcomes = yield* during(
        Effect.replicateEffect(Effect.result(buy("/plain")), 4, { concurrency: "unbounded" })
      )
      const sold = outcomes.value.filter(({ _tag }) => _tag === "Success").length
      assert.strictEqual(sold, 2)
      assert.strictEqual(outcomes.sales.length, sold)
      assert.deepStrictEqual(moved(outcomes.transfers), [...whole, ...whole])
      yield* finalize
      yield* sweep
      const { exposed, spent } = yield* standing
      assert.strictEqual(spent, outcomes.paid.tempo)
      const held = (yield* purchases).filter(({ states }) => states.includes("unknown")).length
      assert.isTrue(exposed >= BigInt(held) * Shops.units)
    }).pipe(Effect.provide(agent({ funds: 2n * Shops.units + 8_000n }))))

  for (const mode of ["pull", "push"] as const) {
    it.effect(`pays once where the answer is lost, and says so (${mode})`, () =>
      Effect.gen(function*() {
        const twice = Effect.all([reasonOf(buy("/lost")), reasonOf(buy("/lost"))])
        const bought = yield* during(twice)
        assert.deepStrictEqual(bought.value.map(({ reason }) => reason._tag), ["PaidUndelivered", "PaidUndelivered"])
        assert.deepStrictEqual(bought.value.map(({ money }) => money), ["spent", "spent"])
        assert.strictEqual(bought.signed, 1)
        assert.deepStrictEqual(moved(bought.transfers), whole)
        yield* settled(bought.paid.tempo)
      }).pipe(Effect.provide(agent({ tempo: { mode } }))))
  }

  it.effect("pays once where the merchant fails after he has taken the money", () =>
    Effect.gen(function*() {
      const twice = Effect.all([reasonOf(buy("/failing")), reasonOf(buy("/failing"))])
      const bought = yield* during(twice)
      assert.deepStrictEqual(bought.value.map(({ reason }) => reason._tag), ["PaidUndelivered", "PaidUndelivered"])
      assert.strictEqual(bought.signed, 1)
      assert.deepStrictEqual(moved(bought.transfers), whole)
      yield* settled(bought.paid.tempo)
    }).pipe(Effect.provide(agent())))

  it.effect("pays on another chain by an authorisation, and no fee", () =>
    Effect.gen(function*() {
      const ten = Effect.replicateEffect(buy("/evm"), 10, { concurrency: "unbounded" })
      const bought = yield* during(Effect.all([buy("/evm"), ten]))
      assert.deepStrictEqual(bought.value, [content, Array.from({ length: 10 }, () => content)])
      assert.strictEqual(bought.signed, 11)
      assert.deepStrictEqual(bought.paid, { tempo: 0n, evm: 11n * Shops.units })
      assert.deepStrictEqual(new Set(bought.sales.map(({ method }) => method)), new Set(["evm/charge"]))
      yield* settled(11n * Shops.units, 11)
      assert.deepStrictEqual(
        (yield* purchases).map(({ evidence }) => evidence[0]?.reference).toSorted(),
        bought.sales.map(({ reference }) => reference).toSorted()
      )
    }).pipe(Effect.provide(agent())))

  it.effect("chooses among the offers of one route: by its own order, or among the rails that the program names", () =>
    Effect.gen(function*() {
      const bought = (rails?: ReadonlyArray<string>) =>
        Effect.map(
          during(rails === undefined ? buy("/composed") : Payment.with(buy("/composed"), { rails })),
          ({ sales, sent, value }) => [value, sent, sales.map(({ method }) => method)]
        )
      assert.deepStrictEqual(yield* bought(), [content, 1, ["evm/charge"]])
      assert.deepStrictEqual(yield* bought(["tempo/charge"]), [content, 1, ["tempo/charge"]])
      assert.deepStrictEqual(yield* bought(["evm/charge"]), [content, 1, ["evm/charge"]])
      assert.deepStrictEqual(yield* bought(["x402/exact"]), [content, 1, ["evm/charge"]])
      const asked = yield* during(reasonOf(Payment.with(buy("/composed"), { rails: ["tempo/session"] })))
      assert.deepStrictEqual([asked.value.reason._tag, asked.sent], ["NoPayableOffer", 0])
    }).pipe(Effect.provide(agent())))

  it.effect("is offered what it says it can pay by", () =>
    Effect.gen(function*() {
      const { seen } = yield* Shops.MppxShops
      assert.deepStrictEqual(yield* buy("/composed"), content)
      const accepted = (yield* seen).at(-1)!.headers["accept-payment"]
      assert.strictEqual(accepted, "tempo/charge, evm/charge")
    }).pipe(Effect.provide(agent({ acceptPayment: true }))))

  it.effect("pays again after ten seconds in which nothing happened", () =>
    Effect.gen(function*() {
      const bought = yield* during(Effect.all([
        buy("/plain"),
        buy("/push"),
        Effect.delay(buy("/plain"), "10 seconds"),
        buy("/push")
      ]))
      assert.deepStrictEqual(bought.value, [content, content, content, content])
      yield* settled(bought.paid.tempo, 4)
    }).pipe(Effect.provide(agent())))
})

const Still = Shops.layer.pipe(Layer.provideMerge(chainsOf({ noMining: true })))

layer(Still, { excludeTestServices: true, timeout: "60 seconds" })(
  "an agent at mppx, on a chain that stands still,",
  (it) => {
    for (const path of ["/plain", "/push", "/sponsored"]) {
      it.effect(`waits for the block at ${path}`, () =>
        Effect.gen(function*() {
          const { mine } = yield* Tempo.TempoChain
          const ticking = Effect.repeat(mine(), Schedule.spaced("500 millis"))
          const bought = yield* during(
            Effect.raceFirst(
              Effect.replicateEffect(buy(path), 3, { concurrency: "unbounded" }),
              Effect.andThen(Effect.sleep("500 millis"), Effect.andThen(ticking, Effect.never))
            )
          )
          assert.deepStrictEqual(bought.value, [content, content, content])
          assert.strictEqual(bought.signed, 3)
          yield* settled(bought.paid.tempo, 3)
        }).pipe(Effect.provide(agent())))
    }

    /** Is interrupted while its transaction waits for a block, which comes then. */
    const interrupted = Effect.fnUntraced(function*(path: string) {
      const { mine, rpc } = yield* Tempo.TempoChain
      const buying = yield* Effect.forkChild(buy(path))
      yield* Effect.repeat(rpc("txpool_status"), {
        until: (status) => !JSON.stringify(status).includes(`"pending":"0x0"`),
        schedule: Schedule.spaced("5 millis")
      })
      yield* Fiber.interrupt(buying)
      const { exposed, spent } = yield* standing
      assert.strictEqual(spent, 0n)
      assert.isTrue(exposed >= Shops.units)
      yield* mine()
    })

    for (const path of ["/plain", "/sponsored"]) {
      it.effect(`pays once if it is interrupted while the merchant at ${path} waits, and asks again`, () =>
        Effect.gen(function*() {
          const bought = yield* during(Effect.andThen(interrupted(path), reasonOf(buy(path))))
          assert.deepInclude(bought.value, { money: "spent" })
          assert.strictEqual(bought.value.reason._tag, "PaidUndelivered")
          assert.strictEqual(bought.signed, 1)
          assert.deepStrictEqual(moved(bought.transfers), whole)
          yield* settled(bought.paid.tempo)
        }).pipe(Effect.provide(agent())))
    }

    it.effect("presents what it has paid itself if it was interrupted before, and is given the content", () =>
      Effect.gen(function*() {
        const bought = yield* during(Effect.andThen(interrupted("/push"), buy("/push")))
        assert.deepStrictEqual(bought.value, content)
        assert.deepStrictEqual([bought.sent, bought.signed], [1, 1])
        assert.deepStrictEqual(moved(bought.transfers), whole)
        yield* settled(bought.paid.tempo)
      }).pipe(Effect.provide(agent())))

    it.effect("counts what a block says where the merchant did not wait for it: a transfer, and a fee where there was none", () =>
      Effect.gen(function*() {
        const bought = yield* during(Effect.gen(function*() {
          const both = yield* Effect.replicateEffect(buy("/optimistic"), 2, { concurrency: "unbounded" })
          assert.deepStrictEqual((yield* purchases).flatMap(({ states }) => states), ["settled", "settled"])
          yield* finalize
          return both
        }))
        assert.deepStrictEqual(bought.value, [content, content])
        assert.strictEqual(bought.signed, 2)
        assert.deepStrictEqual(moved(bought.transfers), whole)
        yield* sweep
        const all = yield* purchases
        assert.deepStrictEqual(all.flatMap(({ states }) => states).toSorted(), ["released", "settled"])
        assert.deepStrictEqual(yield* standing, { spent: bought.paid.tempo, exposed: 0n })
      }).pipe(Effect.provide(agent({ funds: Shops.units + 9_000n }))))
  }
)
