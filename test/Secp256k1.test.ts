import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { inspect } from "node:util"
import type * as Tiny from "tiny-secp256k1"
import type { Hex, TypedDataDefinition } from "viem"
import { privateKeyToAddress, sign, signTypedData } from "viem/accounts"
import { hashTypedData, keccak256, numberToHex, recoverAddress } from "viem/utils"
import { WalletError } from "../src/PaymentError.ts"
import * as Secp256k1 from "../src/Secp256k1.ts"
import * as Wallet from "../src/Wallet.ts"

const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

/** Bytes that are the same in every run. */
const random = (seed: string, index: number): Hex => keccak256(new TextEncoder().encode(`${seed} ${index}`))

const word = (value: bigint): Hex => numberToHex(value, { size: 32 })

const voucher = (index: number): TypedDataDefinition => ({
  domain: {
    name: "TIP20 Channel Reserve",
    version: "1",
    chainId: 42431 + index % 7,
    verifyingContract: `0x${random("escrow", index % 13).slice(-40)}`
  },
  types: {
    Voucher: [{ name: "channelId", type: "bytes32" }, { name: "cumulativeAmount", type: "uint96" }]
  },
  primaryType: "Voucher",
  message: { channelId: random("channel", index), cumulativeAmount: BigInt(random("amount", index)) % 2n ** 96n }
})

const curveOf = <E>(layer: Layer.Layer<never, E>) => Effect.provide(Effect.service(Secp256k1.Secp256k1), layer)

const both = Effect.all({ viem: curveOf(Layer.empty), fast: curveOf(Secp256k1.layerFast) })

describe("Secp256k1", () => {
  it.effect("signs ten thousand digests and typed data with the bytes that viem makes", () =>
    Effect.gen(function*() {
      const curve = yield* curveOf(Secp256k1.layerFast)
      const keys = Array.from({ length: 20 }, (_, index) => random("key", index))
      const wallets = yield* Effect.forEach(keys, (key) =>
        Wallet.Wallet.use(Effect.succeed).pipe(Effect.provide(Wallet.layerFast(Redacted.make(key)))))
      const last = { "1b": 0, "1c": 0 }
      for (let index = 0; index < 8000; index++) {
        const privateKey = keys[index % keys.length]!
        const hash = random("digest", index)
        const signature = yield* curve.sign(hash, Redacted.make(privateKey))
        if (
          signature !== (yield* Effect.promise(() =>
            sign({ hash, privateKey, to: "hex" })
          ))
        ) assert.fail(hash)
        last[signature.endsWith("1b") ? "1b" : "1c"]++
      }
      assert.isAbove(last["1b"], 3500)
      assert.isAbove(last["1c"], 3500)
      for (let index = 0; index < 2000; index++) {
        const privateKey = keys[index % keys.length]!
        const wallet = wallets[index % keys.length]!
        const data = voucher(index)
        const expected = yield* Effect.promise(() => signTypedData({ ...data, privateKey }))
        if (expected !== (yield* wallet.signTypedData(data))) assert.fail(`typed data ${index}`)
        if (expected !== (yield* wallet.signTypedData(data, hashTypedData(data)))) assert.fail(`digest of ${index}`)
      }
    }), 60_000)

  it.effect("signs with the first and the last key, and digests of any value, like viem", () =>
    Effect.gen(function*() {
      const { fast, viem } = yield* both
      for (const privateKey of [1n, 2n, order / 2n, order - 1n].map(word)) {
        for (const hash of [0n, 1n, order - 1n, order, order + 1n, 2n ** 256n - 1n].map(word)) {
          const expected = yield* Effect.promise(() => sign({ hash, privateKey, to: "hex" }))
          assert.strictEqual(yield* fast.sign(hash, Redacted.make(privateKey)), expected)
          assert.strictEqual(yield* viem.sign(hash, Redacted.make(privateKey)), expected)
          for (const curve of [fast, viem]) {
            assert.deepStrictEqual(
              yield* curve.recover(hash, expected),
              Option.some(privateKeyToAddress(privateKey).toLowerCase())
            )
          }
        }
      }
    }))

  it.effect("signs nothing but 32 bytes, with nothing but a key, and repeats neither in its error", () =>
    Effect.gen(function*() {
      const { fast, viem } = yield* both
      const key = random("key", 0)
      for (const curve of [fast, viem]) {
        for (
          const [digest, privateKey] of [
            ["0x", key],
            [random("digest", 0).slice(0, -2), key],
            [`${random("digest", 0)}00`, key],
            [random("digest", 0).replace(/.$/, "g"), key],
            [random("digest", 0), word(0n)],
            [random("digest", 0), word(order)],
            [random("digest", 0), key.slice(0, -2)]
          ] as ReadonlyArray<[Hex, Hex]>
        ) {
          const error = yield* Effect.flip(curve.sign(digest, Redacted.make(privateKey)))
          assert.instanceOf(error, WalletError)
          assert.notInclude(inspect(error, { depth: 10 }), privateKey.slice(2))
        }
      }
    }))

  it.effect("finds the signer, and takes a signature in one form only", () =>
    Effect.gen(function*() {
      const { fast, viem } = yield* both
      let found = 0
      for (let index = 0; index < 30; index++) {
        const digest = random("digest", index)
        const privateKey = random("key", index)
        const signature = yield* fast.sign(digest, Redacted.make(privateKey))
        const [r, s, v] = [signature.slice(2, 66), signature.slice(66, 130), signature.slice(130)]
        const other = v === "1b" ? "1c" : "1b"
        const signer = privateKeyToAddress(privateKey).toLowerCase()
        const highest = word(order - BigInt(`0x${s}`)).slice(2)
        const refused = [
          `0x${r}${s}`,
          `0x${r}${s}0${Number(v === "1c")}`,
          `0x${r}${s}1d`,
          `0x${r}${highest}${other}`,
          `0x${"0".repeat(64)}${s}${v}`,
          `0x${r}${"0".repeat(64)}${v}`,
          `0x${word(order).slice(2)}${s}${v}`,
          `0x${"f".repeat(64)}${s}${v}`,
          `${signature}00`,
          signature.slice(2),
          "0x",
          ""
        ]
        for (const curve of [fast, viem]) {
          assert.deepStrictEqual(yield* curve.recover(digest, signature), Option.some(signer))
          assert.deepStrictEqual(
            yield* curve.recover(digest, `0x${signature.slice(2).toUpperCase()}`),
            Option.some(signer)
          )
          for (const text of refused) {
            assert.deepStrictEqual(yield* curve.recover(digest, text), Option.none(), text)
          }
          assert.deepStrictEqual(yield* curve.recover("0x", signature), Option.none())
        }
        // Other bytes that may be a signature, of somebody else: half of all numbers are no point of the curve.
        for (const text of [`0x${r}${s}${other}`, `0x${random("r", index).slice(2)}${s}${v}`] as ReadonlyArray<Hex>) {
          const [one, another] = [yield* fast.recover(digest, text), yield* viem.recover(digest, text)]
          assert.deepStrictEqual(one, another)
          assert.notDeepEqual(one, Option.some(signer))
          if (Option.isSome(one)) {
            found++
            const expected = yield* Effect.promise(() => recoverAddress({ hash: digest, signature: text }))
            assert.strictEqual(one.value, expected.toLowerCase())
          }
        }
      }
      assert.isAbove(found, 30)
      assert.isBelow(found, 60)
    }))
})

describe("Secp256k1 without a package that serves", () => {
  afterEach(() => {
    vi.doUnmock("tiny-secp256k1")
    vi.resetModules()
  })

  it.effect("says what to install where the package is missing", () =>
    Effect.gen(function*() {
      vi.doMock("tiny-secp256k1", () => {
        throw new Error("Cannot find package 'tiny-secp256k1' in /home/somebody")
      })
      const error = yield* Effect.flip(Effect.provide(
        Wallet.Wallet.use(Effect.succeed),
        Wallet.layerFast(Redacted.make(random("key", 0)))
      ))
      assert.instanceOf(error, WalletError)
      assert.include(error.message, "npm install tiny-secp256k1")
      assert.notInclude(inspect(error, { depth: 10 }), "somebody")
    }))

  it.effect("does not take a version that signs otherwise", () =>
    Effect.gen(function*() {
      const tiny = yield* Effect.promise(() => vi.importActual<typeof Tiny>("tiny-secp256k1"))
      const entropy = new Uint8Array(32).fill(7)
      const others: ReadonlyArray<object> = [
        { ...tiny, signRecoverable: (h: Uint8Array, d: Uint8Array) => tiny.signRecoverable(h, d, entropy) },
        { ...tiny, recover: () => null },
        { signRecoverable: undefined, recover: tiny.recover }
      ]
      for (const other of others) {
        vi.doMock("tiny-secp256k1", () => other)
        vi.resetModules()
        assert.instanceOf(yield* Effect.flip(curveOf(Secp256k1.layerFast)), WalletError)
      }
    }))
})
