/**
 * Who signs: a viem account behind a service. It only signs; it never broadcasts and never asks a chain.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type {
  Address,
  Hex,
  LocalAccount,
  SerializeTransactionFn,
  Signature,
  TransactionSerializable,
  TypedDataDefinition
} from "viem"
import { privateKeyToAddress } from "viem/accounts"
import { hashTypedData, keccak256 } from "viem/utils"
import { WalletError } from "./PaymentError.ts"
import * as Secp256k1 from "./Secp256k1.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Wallet extends Context.Service<Wallet, {
  readonly address: Address
  /**
   * What signing the same again gives: the `same` bytes; `equivalent` ones (another signature of the same effect);
   * `no`: a person or a device would have to act.
   */
  readonly resign: "same" | "equivalent" | "no"
  /**
   * Signs typed data. A caller that knows its digest already hands it over, and a key of this process signs that without
   * hashing the data again. Every other wallet takes no notice of it: what is signed can always be looked at.
   */
  readonly signTypedData: (data: TypedDataDefinition, digest?: Hex) => Effect.Effect<Hex, WalletError>
  /** Signs a transaction, field for field as it is given, and answers it in the form that the serializer writes. */
  readonly signTransaction: <Serializer extends SerializeTransactionFn<TransactionSerializable>>(
    transaction: Parameters<Serializer>[0],
    serializer: Serializer
  ) => Effect.Effect<Hex, WalletError>
}>()("effect-mpp/Wallet") {}

/** Signed at the start to learn whether signatures repeat; under this domain it can be used for nothing. */
const probe: TypedDataDefinition = {
  domain: { name: "effect-mpp", version: "1" },
  types: { Probe: [{ name: "purpose", type: "string" }] },
  primaryType: "Probe",
  message: { purpose: "Find out whether this wallet repeats its signatures" }
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What signing the same again gives. Say `no` where a person or a device has to act: nothing is signed at the start then.
   * Default: it is found out.
   */
  readonly resign?: Wallet["Service"]["resign"] | undefined
}

/**
 * A wallet over a viem account.
 *
 * **Details**
 *
 * Unless it is told, it signs a fixed message twice: `resign` is `same` only if the bytes are. They differ where something
 * in the process has added entropy to signatures, which viem allows.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(account: LocalAccount, options: Options = {}): Effect.fn.Return<Wallet["Service"], WalletError> {
    // What a signer throws may quote what it was given: only our own words leave this function.
    const signTypedData = Effect.fn("Wallet.signTypedData")((data: TypedDataDefinition) =>
      Effect.tryPromise({ try: () => account.signTypedData(data), catch: () => refused("sign typed data") })
    )
    const signTransaction: Wallet["Service"]["signTransaction"] = Effect.fn("Wallet.signTransaction")(
      (transaction, serializer) =>
        Effect.tryPromise({
          try: () => account.signTransaction(transaction, { serializer }),
          catch: () => refused("sign a transaction")
        })
    )
    return yield* over({ address: account.address, signTypedData, signTransaction }, options)
  }
)

const refused = (operation: string) => new WalletError({ operation, detail: "the account refused" })

const over = Effect.fnUntraced(
  function*(
    signer: Omit<Wallet["Service"], "resign">,
    options: Options = {}
  ): Effect.fn.Return<Wallet["Service"], WalletError> {
    const repeats = Effect.zipWith(
      signer.signTypedData(probe),
      signer.signTypedData(probe),
      (once, again) => once === again ? "same" as const : "equivalent" as const
    )
    return Wallet.of({ ...signer, resign: options.resign ?? (yield* repeats) })
  }
)

const membersOf = (signature: Hex): Signature => {
  const yParity = signature.endsWith("1c") ? 1 : 0
  return { r: `0x${signature.slice(2, 66)}`, s: `0x${signature.slice(66, 130)}`, v: yParity === 1 ? 28n : 27n, yParity }
}

const fromPrivateKey = Effect.fnUntraced(
  function*(text: Redacted.Redacted<string>): Effect.fn.Return<Wallet["Service"], WalletError> {
    const key = yield* readKey(text)
    const curve = yield* Secp256k1.Secp256k1
    const signTypedData = Effect.fn("Wallet.signTypedData")(function*(data: TypedDataDefinition, known?: Hex) {
      const digest = known ?? (yield* Effect.try({
        try: () => hashTypedData(data),
        catch: () => refused("sign typed data")
      }))
      return yield* curve.sign(digest, key)
    })
    const signTransaction: Wallet["Service"]["signTransaction"] = Effect.fn("Wallet.signTransaction")(
      function*(transaction, serializer) {
        // A signature covers the blobs of a transaction by their hashes alone.
        const covered = transaction.type === "eip4844" ? { ...transaction, sidecars: false } : transaction
        const serialize = (content: typeof transaction, signature?: Signature) =>
          Effect.tryPromise({
            try: () => Promise.resolve(serializer(content, signature)),
            catch: () => refused("sign a transaction")
          })
        const signature = yield* curve.sign(keccak256(yield* serialize(covered)), key)
        return yield* serialize(transaction, membersOf(signature))
      }
    )
    return yield* over({ address: privateKeyToAddress(Redacted.value(key)), signTypedData, signTransaction })
  }
)

const expectedKey = "32 bytes in hexadecimal, within the order of secp256k1"

const order = 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe_baae_dce6_af48_a03b_bfd2_5e8c_d036_4141n

const keyOf = (text: string): Hex | undefined => {
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text.trim())?.[1]
  if (digits === undefined) return undefined
  const number = BigInt(`0x${digits}`)
  return number > 0n && number < order ? `0x${digits}` : undefined
}

const readKey = (text: Redacted.Redacted<string>): Effect.Effect<Redacted.Redacted<Hex>, WalletError> => {
  const key = keyOf(Redacted.value(text))
  return key === undefined
    ? Effect.fail(new WalletError({ operation: "read the private key", detail: `expected ${expectedKey}` }))
    : Effect.succeed(Redacted.make(key))
}

/**
 * A private key in a variable: one that is none is an error of the configuration, which names the variable and not the
 * key.
 *
 * @category config
 * @since 0.1.0
 */
export const privateKey = (name: string): Config.Config<Redacted.Redacted<string>> =>
  Config.schema(
    Schema.Redacted(
      Schema.String.check(
        Schema.makeFilter<string>((text) => keyOf(text) !== undefined || `Expected ${expectedKey}`)
      )
    ),
    name
  )

/**
 * A viem account that holds its key in this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (account: LocalAccount, options: Options = {}): Layer.Layer<Wallet, WalletError> =>
  Layer.effect(Wallet, make(account, options))

/**
 * A private key of 32 bytes in hexadecimal, with or without `0x`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPrivateKey = (privateKey: Redacted.Redacted<string>): Layer.Layer<Wallet, WalletError> =>
  Layer.effect(Wallet, fromPrivateKey(privateKey))

/**
 * Like `layerPrivateKey`, and it signs with WebAssembly: the same bytes in a third of the time. For sessions that sign a
 * voucher with each request. The program installs the npm package `tiny-secp256k1`; without it the Layer fails.
 *
 * **Details**
 *
 * `Secp256k1.layerFast` does the same for any wallet that is made from a key: `layerConfig().pipe(Layer.provide(...))`.
 *
 * **Example** (A wallet with WebAssembly)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { TestWallet } from "effect-mpp/testing"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const address = Effect.map(Wallet.Wallet, (wallet) => wallet.address)
 * await Effect.runPromise(Effect.provide(address, Wallet.layerFast(TestWallet.privateKey))) // => TestWallet.address
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFast = (privateKey: Redacted.Redacted<string>): Layer.Layer<Wallet, WalletError> =>
  layerPrivateKey(privateKey).pipe(Layer.provide(Secp256k1.layerFast))

/**
 * The key of `MPP_PRIVATE_KEY`, or of the variable that is named.
 *
 * **Example** (A second wallet)
 *
 * ```ts
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const BaseWallet = Wallet.layerConfig({ privateKey: Wallet.privateKey("BASE_KEY") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<{ readonly privateKey: Redacted.Redacted<string> }> = {
    privateKey: privateKey("MPP_PRIVATE_KEY")
  }
): Layer.Layer<Wallet, WalletError | Config.ConfigError> =>
  Layer.effect(Wallet, Effect.flatMap(Config.unwrap(options), ({ privateKey }) => fromPrivateKey(privateKey)))
