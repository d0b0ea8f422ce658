/**
 * The curve behind signatures: makes them, and finds out who made one. The code of viem does both unless a program asks for
 * WebAssembly, which makes the same bytes in a third of the time, and finds their signer in a seventh of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Address, Hex } from "viem"
import { sign } from "viem/accounts"
import { bytesToHex, hexToBytes, keccak256, recoverPublicKey } from "viem/utils"
import { WalletError } from "./PaymentError.ts"

/**
 * A signature has one form here, which is the one that contracts take: 65 bytes, `r`, `s` and `v`, with the lower `s` and a
 * `v` of 27 or 28. Nonces are those of RFC 6979.
 *
 * @category models
 * @since 0.1.0
 */
export interface Curve {
  /** Signs 32 bytes, whatever they stand for: whoever calls it knows what. Fails if they are not 32, or the key is none. */
  readonly sign: (digest: Hex, privateKey: Redacted.Redacted<Hex>) => Effect.Effect<Hex, WalletError>
  /** Who signed 32 bytes, in lower case; none if that is no signature in the form above. */
  readonly recover: (digest: Hex, signature: string) => Effect.Effect<Option.Option<Address>>
}

const digestForm = /^0x[0-9a-fA-F]{64}$/
const signatureForm = /^0x[0-9a-fA-F]{128}1[b-cB-C]$/

/** Half of the order of the curve: for each signature with an `s` above it there is an equal one below. */
const highestS = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"

const unusable = new WalletError({ operation: "sign a digest", detail: "the digest or the key cannot be used" })

/** The last 20 bytes of the hash of a public key, which is not compressed: 0x04 and two coordinates. */
const addressOf = (publicKey: Uint8Array): Address => `0x${keccak256(publicKey.subarray(1)).slice(-40)}`

/** What two implementations must not differ in is decided before either is asked. */
const make = (implementation: Curve): Curve => ({
  sign: (digest, privateKey) =>
    digestForm.test(digest) && digestForm.test(Redacted.value(privateKey))
      ? implementation.sign(digest, privateKey)
      : Effect.fail(unusable),
  recover: (digest, signature) =>
    digestForm.test(digest) && signatureForm.test(signature) &&
      signature.slice(66, 130).toLowerCase() <= highestS
      ? implementation.recover(digest, signature)
      : Effect.succeedNone
})

const viem: Curve = make({
  // What is thrown may quote the key.
  sign: (hash, privateKey) =>
    Effect.tryPromise({
      try: () => sign({ hash, privateKey: Redacted.value(privateKey), to: "hex" }),
      catch: () => unusable
    }),
  recover: (hash, signature) =>
    Effect.option(Effect.tryPromise(() => recoverPublicKey({ hash, signature: hexToBytes(`0x${signature.slice(2)}`) })))
      .pipe(Effect.map(Option.map((publicKey) => addressOf(hexToBytes(publicKey)))))
})

/**
 * The curve in use, of viem unless a program says otherwise.
 *
 * **Details**
 *
 * The wallets that are made from a key sign with it, and whatever stands here is handed that key. viem adds entropy to
 * signatures where the process told it to (`setSignEntropy`); WebAssembly never does.
 *
 * @category services
 * @since 0.1.0
 */
export const Secp256k1: Context.Reference<Curve> = Context.Reference<Curve>("effect-mpp/Secp256k1", {
  defaultValue: () => viem
})

/** Some bundlers want a `try` and some a `catch`, to take the package for what it is: one that may be missing. */
const load = () => {
  const missing = (cause: unknown) => Promise.reject(cause)
  try {
    return import("tiny-secp256k1").catch(missing)
  } catch (cause) {
    return missing(cause)
  }
}

/** A key that everybody knows, and what it signs: another version of the package must not change what is signed. */
const known = {
  privateKey: Redacted.make<Hex>(`0x${"01".repeat(32)}`),
  digest: `0x${"02".repeat(32)}`,
  signature: "0x97ef30233ead25d10f7bb2bf9eaf571a16f2deb33a75f20819284f0cb8ff3cc1" +
    "4870ca05940199c113b4dc77866f001702691cde269f6835581e7aea1ead26601b",
  signer: "0x1a642f0e3c3af545e7acbd38b07251b3990914f1"
} as const

const cannot = (detail: string) => new WalletError({ operation: "sign with WebAssembly", detail })

const webAssembly = Effect.gen(function*(): Effect.fn.Return<Curve, WalletError> {
  const tiny = yield* Effect.tryPromise({
    try: load,
    catch: () => cannot("the package tiny-secp256k1 cannot be loaded: npm install tiny-secp256k1@^2.2.4")
  })
  const curve = make({
    sign: (digest, privateKey) =>
      Effect.try({
        try: (): Hex => {
          const { recoveryId, signature } = tiny.signRecoverable(
            hexToBytes(digest),
            hexToBytes(Redacted.value(privateKey))
          )
          return `${bytesToHex(signature)}${recoveryId === 0 ? "1b" : "1c"}`
        },
        catch: () => unusable
      }),
    recover: (digest, signature) =>
      Effect.sync(() => {
        try {
          const bytes = hexToBytes(`0x${signature.slice(2)}`)
          const publicKey = tiny.recover(hexToBytes(digest), bytes.subarray(0, 64), bytes[64] === 27 ? 0 : 1)
          return publicKey === null ? Option.none() : Option.some(addressOf(publicKey))
        } catch {
          return Option.none()
        }
      })
  })
  const signature = yield* curve.sign(known.digest, known.privateKey)
  const signer = yield* curve.recover(known.digest, known.signature)
  return signature === known.signature && Option.contains(signer, known.signer)
    ? curve
    : yield* cannot("the package tiny-secp256k1 signs otherwise than it should")
})

/**
 * The WebAssembly of the npm package `tiny-secp256k1` (libsecp256k1, as Bitcoin uses it), which a program has to install.
 * Its signatures are the bytes that viem makes.
 *
 * **Example** (Who signed)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Secp256k1 from "effect-mpp/Secp256k1"
 * import { TestWallet } from "effect-mpp/testing"
 * import * as Option from "effect/Option"
 *
 * const signer = Effect.gen(function*() {
 *   const curve = yield* Secp256k1.Secp256k1
 *   const digest = `0x${"5a".repeat(32)}` as const
 *   return yield* curve.recover(digest, yield* curve.sign(digest, TestWallet.privateKey))
 * })
 *
 * const found = await Effect.runPromise(Effect.provide(signer, Secp256k1.layerFast))
 * Option.getOrThrow(found) // => TestWallet.address.toLowerCase()
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFast: Layer.Layer<never, WalletError> = Layer.effect(Secp256k1, webAssembly)
