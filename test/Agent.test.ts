import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Logger, Redacted } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import * as Agent from "../src/Agent.ts"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as Policy from "../src/Policy.ts"
import * as Rails from "../src/Rails.ts"
import * as ExactEvm from "../src/rails/ExactEvm.ts"
import * as Wallet from "../src/Wallet.ts"

const silent = Layer.succeed(
  HttpClient.HttpClient,
  HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response("hello"))))
)

const key = (digit: string) => Redacted.make(`0x${digit.repeat(64)}`)
const rail = (digit: string, network: string) =>
  ExactEvm.layer({ networks: [network] }).pipe(Layer.provide(Wallet.layerPrivateKey(key(digit))))

const configured = (settings: Record<string, string>) =>
  Agent.layerConfigWith({ ledger: Ledger.layerMemory({ quiet: true }) }).pipe(
    Layer.provide(silent),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(settings)))
  )

const railNames = Effect.flatMap(Rails.Rails, (rails) => Effect.map(rails.all, (all) => all.map((it) => it.name)))

describe("Agent", () => {
  it.effect("registers two wallets on one kind of rail as two rails", () =>
    Effect.gen(function*() {
      const rails = yield* Effect.flatMap(Rails.Rails, (it) => it.all)
      assert.deepStrictEqual(rails.map((it) => it.name), ["x402/exact", "x402/exact#2"])
      assert.strictEqual(new Set(rails.map((it) => it.payer)).size, 2)
    }).pipe(Effect.provide(
      Agent.layer({
        rails: Layer.mergeAll(rail("1", "eip155:8453"), rail("2", "eip155:137")),
        ledger: Ledger.layerMemory({ quiet: true })
      }).pipe(Layer.provide(silent))
    )))

  it.effect("shares nothing with another agent of the same program", () => {
    const agent = (digit: string) =>
      Layer.build(
        Agent.layer({ rails: rail(digit, "eip155:8453"), ledger: Ledger.layerMemory({ quiet: true }) }).pipe(
          Layer.provide(silent)
        )
      )
    return Effect.gen(function*() {
      const [one, other] = [yield* agent("1"), yield* agent("2")]
      assert.deepStrictEqual(yield* Effect.provide(railNames, one), ["x402/exact"])
      assert.deepStrictEqual(yield* Effect.provide(railNames, other), ["x402/exact"])
      const ledgerOf = (context: typeof one) => Effect.provide(Effect.map(Ledger.Ledger, (it) => it), context)
      assert.notStrictEqual(yield* ledgerOf(one), yield* ledgerOf(other))
    })
  })

  it.effect("pays nothing without a key and a credential, and still fetches what is free", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* railNames, [])
      const response = yield* HttpClient.get("https://merchant.test/free")
      assert.strictEqual(yield* response.text, "hello")
    }).pipe(Effect.provide(configured({}))))

  it.effect("is made of configuration", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* railNames).toSorted(), [
        "evm/charge",
        "mpp/token-session",
        "tempo/charge",
        "x402/exact"
      ])
      const budget = yield* Budget.Budget
      assert.strictEqual(budget.plan.limit, 2_500_000n)
      assert.strictEqual(budget.ceiling, 20_000n)
      const policy = yield* Policy.Policy
      assert.isTrue(policy.networks.has("eip155:8453"))
      assert.isFalse(policy.networks.has("eip155:1"))
      assert.strictEqual(policy.url("https://evil.test")._tag, "Some")
    }).pipe(Effect.provide(configured({
      MPP_PRIVATE_KEY: `0x${"1".repeat(64)}`,
      MPP_BUDGET: "2.50/24h",
      MPP_MAX_PRICE: "0.02",
      MPP_NETWORKS: "eip155:8453",
      MPP_DENY_ORIGINS: "evil.test",
      TEMPO_CREDENTIAL: "secret-credential",
      MPP_SESSION_ORIGINS: "https://merchant.test"
    }))))

  it.effect("never echoes a key that is none", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(railNames, configured({ MPP_PRIVATE_KEY: "0xnotakey12345" })))
      assert.notInclude(JSON.stringify(error) + String(error), "notakey12345")
    }))

  it.effect("warns once that a ledger in memory forgets", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    return Effect.gen(function*() {
      yield* Rails.Rails
      assert.strictEqual(lines.filter((line) => line.includes("in memory")).length, 1)
    }).pipe(
      Effect.provide(Agent.layer({ rails: rail("1", "eip155:8453") }).pipe(Layer.provide(silent))),
      Effect.provide(Logger.layer([logger]))
    )
  })

  it.effect("takes a key from any configuration", () =>
    Effect.gen(function*() {
      const wallet = yield* Wallet.Wallet
      assert.match(wallet.address, /^0x[0-9a-fA-F]{40}$/)
    }).pipe(
      Effect.provide(Wallet.layerConfig({ privateKey: Config.Redacted("BASE_KEY") })),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ BASE_KEY: `0x${"3".repeat(64)}` })))
    ))
})
