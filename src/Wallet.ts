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
  TransactionSerializable,
  TypedDataDefinition
} from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { WalletError } from "./PaymentError.ts"

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
  readonly signTypedData: (data: TypedDataDefinition) => Effect.Effect<Hex, WalletError>
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
      Effect.tryPromise({
        try: () => account.signTypedData(data),
        catch: () => new WalletError({ operation: "sign typed data", detail: "the account refused" })
      })
    )
    const signTransaction: Wallet["Service"]["signTransaction"] = Effect.fn("Wallet.signTransaction")(
      (transaction, serializer) =>
        Effect.tryPromise({
          try: () => account.signTransaction(transaction, { serializer }),
          catch: () => new WalletError({ operation: "sign a transaction", detail: "the account refused" })
        })
    )
    const repeats = Effect.zipWith(
      signTypedData(probe),
      signTypedData(probe),
      (once, again) => once === again ? "same" as const : "equivalent" as const
    )
    return Wallet.of({
      address: account.address,
      resign: options.resign ?? (yield* repeats),
      signTypedData,
      signTransaction
    })
  }
)

const fromPrivateKey = (privateKey: Redacted.Redacted<string>): Effect.Effect<Wallet["Service"], WalletError> =>
  Effect.flatMap(accountOf(privateKey), (account) => make(account))

const expectedKey = "32 bytes in hexadecimal, within the order of secp256k1"

const order = 0xffff_ffff_ffff_ffff_ffff_ffff_ffff_fffe_baae_dce6_af48_a03b_bfd2_5e8c_d036_4141n

const keyOf = (text: string): Hex | undefined => {
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(text.trim())?.[1]
  if (digits === undefined) return undefined
  const number = BigInt(`0x${digits}`)
  return number > 0n && number < order ? `0x${digits}` : undefined
}

const accountOf = (privateKey: Redacted.Redacted<string>): Effect.Effect<LocalAccount, WalletError> => {
  const key = keyOf(Redacted.value(privateKey))
  return key === undefined
    ? Effect.fail(new WalletError({ operation: "read the private key", detail: `expected ${expectedKey}` }))
    : Effect.sync(() => privateKeyToAccount(key))
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
