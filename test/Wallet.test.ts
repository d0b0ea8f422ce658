import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { inspect } from "node:util"
import { serializeTransaction, type TransactionSerializable, type TypedDataDefinition, verifyTypedData } from "viem"
import { privateKeyToAccount, setSignEntropy } from "viem/accounts"
import { Transaction } from "viem/tempo"
import { hashTypedData } from "viem/utils"
import { PaymentError, WalletError } from "../src/PaymentError.ts"
import * as Secp256k1 from "../src/Secp256k1.ts"
import * as Wallet from "../src/Wallet.ts"
import * as TempoTransaction from "../src/wire/mpp/TempoTransaction.ts"

const key = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
const address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

const transfer = (value: bigint, nonce: `0x${string}`): TypedDataDefinition => ({
  domain: {
    name: "USDC",
    version: "2",
    chainId: 84532n,
    verifyingContract: "0x036cbd53842c5426634e7929541ec2318f3dcf7e"
  },
  types: {
    TransferWithAuthorization: [
      { name: "from", type: "address" },
      { name: "to", type: "address" },
      { name: "value", type: "uint256" },
      { name: "validAfter", type: "uint256" },
      { name: "validBefore", type: "uint256" },
      { name: "nonce", type: "bytes32" }
    ]
  },
  primaryType: "TransferWithAuthorization",
  message: { from: address, to: address, value, validAfter: 0n, validBefore: 1n, nonce }
})

const config = (variables: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables }))

const printed = (value: unknown) => [inspect(value, { depth: 10 }), JSON.stringify(value), String(value)].join("\n")

describe("Wallet", () => {
  it.effect.prop(
    "signs typed data that verifies, and signs it again with the same bytes",
    {
      value: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 2n ** 256n - 1n })),
      nonce: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 2n ** 256n - 1n }))
    },
    ({ nonce, value }) =>
      Effect.gen(function*() {
        const wallet = yield* Wallet.Wallet
        const data = transfer(value, `0x${nonce.toString(16).padStart(64, "0")}`)
        const signature = yield* wallet.signTypedData(data)
        assert.strictEqual(yield* wallet.signTypedData(data), signature)
        assert.isTrue(yield* Effect.promise(() => verifyTypedData({ ...data, address, signature })))
      }).pipe(Effect.provide(Wallet.layerPrivateKey(Redacted.make(key)))),
    { arbitrary: { runs: 10 } }
  )

  it.effect("says that its signatures repeat where they do", () =>
    Effect.gen(function*() {
      const wallet = yield* Wallet.Wallet
      assert.strictEqual(wallet.address, address)
      assert.strictEqual(wallet.resign, "same")
    }).pipe(Effect.provide(Wallet.layer(privateKeyToAccount(key)))))

  it.effect("reads its key from MPP_PRIVATE_KEY or from the variable that is named, with or without 0x", () =>
    Effect.gen(function*() {
      const environment = config({ MPP_PRIVATE_KEY: key, BASE_KEY: ` ${key.slice(2).toUpperCase()}\n` })
      const addressOf = (layer: ReturnType<typeof Wallet.layerConfig>) =>
        Wallet.Wallet.use((wallet) => Effect.succeed(wallet.address)).pipe(
          Effect.provide(layer.pipe(Layer.provide(environment)))
        )
      assert.strictEqual(yield* addressOf(Wallet.layerConfig()), address)
      assert.strictEqual(
        yield* addressOf(Wallet.layerConfig({ privateKey: Config.Redacted("BASE_KEY") })),
        address
      )
    }))

  it.effect("fails with a typed error that echoes nothing of an unusable key", () =>
    Effect.gen(function*() {
      const unusable = [
        "not-a-key-but-a-secret",
        `${key}00`,
        key.slice(0, -2),
        `0x${"0".repeat(64)}`,
        `0x${"f".repeat(64)}`,
        ""
      ]
      for (const secret of unusable) {
        const exit = yield* Effect.exit(
          Effect.provide(Wallet.Wallet.use(Effect.succeed), Wallet.layerPrivateKey(Redacted.make(secret)))
        )
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isSuccess(exit)) continue
        const error = Cause.squash(exit.cause)
        assert.instanceOf(error, WalletError)
        for (const text of [printed(error), printed(exit.cause), Cause.pretty(exit.cause)]) {
          assert.isFalse(secret !== "" && text.includes(secret.slice(2)), text)
        }
      }
    }))

  it.effect("a key that is missing or unusable in the environment is reported by the variable's name alone", () =>
    Effect.gen(function*() {
      const failure = (variables: Record<string, string>) =>
        Effect.flip(Effect.provide(
          Wallet.Wallet.use(Effect.succeed),
          Wallet.layerConfig().pipe(Layer.provide(config(variables)))
        ))
      assert.include(printed(yield* failure({})), "MPP_PRIVATE_KEY")
      assert.notInclude(printed(yield* failure({ MPP_PRIVATE_KEY: "hunter2hunter2" })), "hunter2")
    }))

  it.effect("what an account says when it refuses does not leave the wallet", () =>
    Effect.gen(function*() {
      let refusing = false
      const account = privateKeyToAccount(key)
      const wallet = yield* Wallet.Wallet.use(Effect.succeed).pipe(Effect.provide(Wallet.layer({
        ...account,
        signTypedData: (data) => refusing ? Promise.reject(new Error(`bad key ${key}`)) : account.signTypedData(data)
      })))
      refusing = true
      const error = yield* Effect.flip(wallet.signTypedData(transfer(1n, `0x${"0".repeat(64)}`)))
      assert.instanceOf(error, WalletError)
      assert.notInclude(printed(error), key)
      const encoded = Schema.encodeSync(PaymentError)(
        new PaymentError({ reason: error, origin: "https://a.test", money: "unspent" })
      )
      assert.notInclude(JSON.stringify(encoded), key.slice(2))
    }))

  const fastLayers = {
    layerFast: Wallet.layerFast(Redacted.make(key)),
    layerConfig: Wallet.layerConfig().pipe(
      Layer.provide([Secp256k1.layerFast, config({ MPP_PRIVATE_KEY: key })])
    ),
    layerPrivateKey: Wallet.layerPrivateKey(Redacted.make(key))
  }

  for (const [name, wallet] of Object.entries(fastLayers)) {
    it.effect(`${name} signs as an account of viem does, byte for byte`, () =>
      Effect.gen(function*() {
        const account = privateKeyToAccount(key)
        const { address, resign, signTransaction, signTypedData } = yield* Wallet.Wallet
        assert.strictEqual(address, account.address)
        assert.strictEqual(resign, "same")
        for (let value = 0n; value < 40n; value++) {
          const data = transfer(value, `0x${"a5".repeat(32)}`)
          const expected = yield* Effect.promise(() => account.signTypedData(data))
          assert.strictEqual(yield* signTypedData(data), expected)
          assert.strictEqual(yield* signTypedData(data, hashTypedData(data)), expected)
          const token = "0x20c0000000000000000000000000000000000000"
          const tempo = TempoTransaction.serializable({
            chainId: 42431,
            from: address,
            calls: TempoTransaction.calls(token, [{ to: token, units: value, memo: `0x${"07".repeat(32)}` }]),
            gas: "300000",
            maxFeePerGas: "20000000000",
            maxPriorityFeePerGas: "1000000000",
            validBefore: 1_767_700_000,
            sponsored: value % 2n === 0n,
            ...(value % 2n === 1n && { feeToken: token })
          })
          assert.strictEqual(
            yield* signTransaction(tempo, Transaction.serialize),
            yield* Effect.promise(() => account.signTransaction(tempo, { serializer: Transaction.serialize }))
          )
        }
        const ethereum: ReadonlyArray<TransactionSerializable> = [
          { type: "legacy", chainId: 1, to: address, value: 7n, nonce: 1, gas: 21_000n, gasPrice: 9n },
          { type: "eip1559", chainId: 8453, to: address, data: "0x01", maxFeePerGas: 9n, maxPriorityFeePerGas: 1n },
          {
            type: "eip4844",
            chainId: 1,
            to: address,
            maxFeePerGas: 9n,
            maxPriorityFeePerGas: 1n,
            maxFeePerBlobGas: 3n,
            blobVersionedHashes: [`0x01${"00".repeat(31)}`],
            sidecars: [{ blob: "0x01", commitment: "0x02", proof: "0x03" }]
          }
        ]
        for (const transaction of ethereum) {
          assert.strictEqual(
            yield* signTransaction(transaction, serializeTransaction),
            yield* Effect.promise(() => account.signTransaction(transaction))
          )
        }
      }).pipe(Effect.provide(wallet)))
  }

  it.effect("an account of somebody else is given what it signs, never a digest", () =>
    Effect.gen(function*() {
      const account = privateKeyToAccount(key)
      const seen: Array<unknown> = []
      const { signTypedData } = yield* Wallet.Wallet.use(Effect.succeed).pipe(Effect.provide(Wallet.layer({
        ...account,
        sign: () => Promise.reject(new Error("a digest")),
        signTypedData: (data) => {
          seen.push(data.message)
          return account.signTypedData(data)
        }
      })))
      const [data, other] = [transfer(1n, `0x${"01".repeat(32)}`), transfer(2n, `0x${"01".repeat(32)}`)]
      assert.strictEqual(
        yield* signTypedData(data, hashTypedData(other)),
        yield* Effect.promise(() => account.signTypedData(data))
      )
      assert.deepStrictEqual(seen.at(-1), data.message)
    }))

  it.effect("refuses typed data and transactions that cannot be written, with a typed error", () =>
    Effect.gen(function*() {
      for (const layer of [fastLayers.layerFast, fastLayers.layerPrivateKey]) {
        const { signTransaction, signTypedData } = yield* Effect.provide(Wallet.Wallet.use(Effect.succeed), layer)
        const data = transfer(2n ** 256n, `0x${"01".repeat(32)}`)
        assert.instanceOf(yield* Effect.flip(signTypedData(data)), WalletError)
        assert.instanceOf(yield* Effect.flip(signTypedData(data, "0x1234")), WalletError)
        const transaction: TransactionSerializable = { type: "eip1559", chainId: 1, to: "0x12" }
        assert.instanceOf(yield* Effect.flip(signTransaction(transaction, serializeTransaction)), WalletError)
      }
    }))

  // The last one: viem has no way to take the entropy out again.
  it.effect("says that its signatures are merely equivalent where the process adds entropy to them", () =>
    Effect.gen(function*() {
      setSignEntropy(true)
      const wallet = yield* Wallet.Wallet.use(Effect.succeed).pipe(
        Effect.provide(Wallet.layerPrivateKey(Redacted.make(key)))
      )
      assert.strictEqual(wallet.resign, "equivalent")
    }))
})
