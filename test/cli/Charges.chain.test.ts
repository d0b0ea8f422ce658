/** The command with nothing but settings, at servers of mppx on local chains. */
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { TestConsole } from "effect/testing"
import { join } from "node:path"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import * as Agents from "../../src/cli/Agents.ts"
import * as Environment from "../../src/cli/Environment.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import { chains } from "../interop/mppxPayer.ts"
import * as Shops from "../interop/official/mppxShops.ts"
import { directory } from "../sql/temporary.ts"
import { json, mpp } from "./harness.ts"

/** Runs the command with a wallet that nobody has used before, which holds a dollar on either chain if nothing else. */
const run = Effect.fnUntraced(
  function*(args: readonly [command: string, path: string, ...Array<string>], funds = 1_000_000n) {
    const tempo = yield* Tempo.TempoChain
    const evm = yield* Evm.EvmChain
    const { url } = yield* Shops.MppxShops
    const key = generatePrivateKey()
    const payer = privateKeyToAccount(key).address
    if (funds > 0n) yield* tempo.fund(payer, funds)
    yield* evm.mint(payer, 1_000_000n)
    const settings = Environment.layer({
      MPP_LEDGER: join(yield* directory, "ledger.sqlite"),
      MPP_PRIVATE_KEY: key,
      [`MPP_RPC_${tempo.chainId}`]: tempo.rpcUrl,
      [`MPP_RPC_${evm.chainId}`]: evm.rpcUrl,
      MPP_NETWORKS: `${tempo.network},${evm.network}`,
      MPP_ASSETS: `${tempo.network}/${tempo.pathUsd.address}:pathUSD:6`
    })
    const [command, path, ...flags] = args
    const ran = yield* mpp(Agents.layerConfig, [command, `${url}${path}`, ...flags]).pipe(
      Effect.provide(Layer.mergeAll(settings, TestConsole.layer))
    )
    return { ran, paid: funds - (yield* tempo.balance(payer)), paidOnEvm: 1_000_000n - (yield* evm.balance(payer)) }
  }
)

const content = JSON.stringify({ secret: 42 })

const World = Shops.layer.pipe(Layer.provideMerge(chains))

/** Millionths of a dollar. */
const micros = (usd: string) => BigInt(Math.round(Number(usd) * 1e6))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("the command, at charges,", (it) => {
  for (const path of ["/plain", "/push", "/split-two"]) {
    it.effect(`pays ${path} on Tempo, and tells the price and the fee apart`, () =>
      Effect.gen(function*() {
        const { paid, ran } = yield* run(["fetch", path, "--rail", "tempo/charge", "--json"])
        assert.strictEqual(ran.status, 0)
        const { body, budget, payment } = json(ran)
        assert.strictEqual(body, content)
        assert.deepInclude(payment, { rail: "tempo/charge", amount: "0.01", units: "10000", asset: "pathUSD" })
        assert.deepInclude(payment, { network: "eip155:1337", payee: Shops.payee, state: "settled", delivered: true })
        assert.strictEqual(payment.receipt.status, "success")
        assert.match(payment.receipt.reference, /^0x[0-9a-f]{64}$/)
        assert.strictEqual(micros(budget.spent), 10_000n + micros(payment.feeUsd))
        assert.isTrue(paid > 10_000n && paid <= micros(budget.spent))
      }))
  }

  it.effect("names no fee where the merchant pays it, or nothing moves", () =>
    Effect.gen(function*() {
      const sponsored = yield* run(["fetch", "/sponsored", "--json"], 10_000n)
      const proof = yield* run(["fetch", "/proof", "--json"], 0n)
      assert.deepStrictEqual([sponsored.ran.status, proof.ran.status], [0, 0])
      assert.deepStrictEqual([sponsored.paid, proof.paid], [10_000n, 0n])
      for (const { ran } of [sponsored, proof]) assert.notProperty(json(ran).payment, "feeUsd")
      assert.deepStrictEqual([sponsored, proof].map(({ ran }) => json(ran).budget.spent), ["0.01", "0.00"])
    }))

  it.effect("says on stderr what it paid, with the fee", () =>
    Effect.gen(function*() {
      const { ran } = yield* run(["fetch", "/plain"])
      assert.deepStrictEqual([ran.status, ran.stdout], [0, content])
      assert.match(
        ran.stderr,
        /paid 0\.01 pathUSD \(10000 units on eip155:1337\) to 0x\S+ over tempo\/charge, with a fee of at most \$0\.0\d+: settled, delivered/
      )
    }))

  it.effect("pays on an EVM chain by the rail that is named, and by its own choice", () =>
    Effect.gen(function*() {
      const named = yield* run(["fetch", "/composed", "--rail", "tempo/charge", "--json"])
      const chosen = yield* run(["fetch", "/composed", "--json"])
      assert.deepStrictEqual([named, chosen].map(({ ran }) => json(ran).payment.rail), ["tempo/charge", "evm/charge"])
      assert.deepStrictEqual([named.paidOnEvm, chosen.paidOnEvm, chosen.paid], [0n, 10_000n, 0n])
    }))

  it.effect("explains who gets a part of the price, and counts the ways that it refuses", () =>
    Effect.gen(function*() {
      const explained = yield* run(["explain", "/split-two"])
      const [one, two] = Shops.splits.two
      assert.strictEqual(explained.ran.status, 0)
      assert.match(
        explained.ran.stdout,
        new RegExp(
          `payee +${Shops.payee}: \\$0\\.007\\n +a part to +${one!.recipient}: \\$0\\.002\\n` +
            ` +a part to +${two!.recipient}: \\$0\\.001\\n`,
          "i"
        )
      )
      assert.include(explained.ran.stdout, "Warning: the payee over tempo/charge is unknown")
      assert.include(
        explained.ran.stdout,
        "Warning: not everybody who gets a part of the price over tempo/charge is on"
      )
      const probed = yield* run(["probe", "/split-two", "--json"])
      assert.deepStrictEqual(
        json(probed.ran).offers[0].shares.map((share: { readonly payee: string }) => ({
          ...share,
          payee: share.payee.toLowerCase()
        })),
        [[Shops.payee, "7000", "0.007"], [one!.recipient, "2000", "0.002"], [two!.recipient, "1000", "0.001"]].map(
          ([payee, units, price]) => ({ payee: payee!.toLowerCase(), units, price })
        )
      )
      const tabled = yield* run(["fetch", "/split-two", "--dry-run"])
      assert.match(tabled.ran.stdout, new RegExp(`mpp tempo/charge +${two!.recipient} +\\$0\\.001\\n`, "i"))
      const refused = yield* run(["fetch", "/plain", "--rail", "x402/exact"])
      assert.strictEqual(refused.ran.status, 3)
      assert.include(refused.ran.stderr, "The only way to pay cannot be used: mpp tempo/charge (")
      assert.deepStrictEqual([explained, probed, refused].map(({ paid }) => paid), [0n, 0n, 0n])
    }))

  it.effect("exits with 3 if it lacks the money, and with 5 if it was paid and nothing came", () =>
    Effect.gen(function*() {
      const poor = yield* run(["fetch", "/plain", "--json"], 0n)
      assert.strictEqual(poor.ran.status, 3)
      assert.deepInclude(json(poor.ran).error, { _tag: "InsufficientFunds", money: "unspent", available: "0" })
      for (const path of ["/lost", "/failing"]) {
        const { paid, ran } = yield* run(["fetch", path, "--json"])
        assert.strictEqual(ran.status, 5)
        assert.deepInclude(json(ran).error, { _tag: "PaidUndelivered", money: "spent" })
        assert.isTrue(paid > 10_000n && paid < 20_000n)
      }
    }))
})
