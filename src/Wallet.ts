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
import type { Address, Hex, LocalAccount, TypedDataDefinition } from "viem"
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
}>()("effect-mpp/Wallet") {}

/** Signed at the start to learn whether signatures repeat; under this domain it can be used for nothing. */
const probe: TypedDataDefinition = {
  domain: { name: "effect-mpp", version: "1" },
  types: { Probe: [{ name: "purpose", type: "string" }] },
  primaryType: "Probe",
  message: { purpose: "Find out whether this wallet repeats its signatures" }
}

/**
 * A wallet over a viem account.
 *
 * **Details**
 *
 * It signs a fixed message twice: `resign` is `same` only if the bytes are. They differ where something in the process has
 * added entropy to signatures, which viem allows.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(
  function*(account: LocalAccount): Effect.fn.Return<Wallet["Service"], WalletError> {
    // What a signer throws may quote what it was given: only our own words leave this function.
    const signTypedData = Effect.fn("Wallet.signTypedData")((data: TypedDataDefinition) =>
      Effect.tryPromise({
        try: () => account.signTypedData(data),
        catch: () => new WalletError({ operation: "sign typed data", detail: "the account refused" })
      })
    )
    const once = yield* signTypedData(probe)
    const again = yield* signTypedData(probe)
    return Wallet.of({ address: account.address, resign: once === again ? "same" : "equivalent", signTypedData })
  }
)

const fromPrivateKey = (privateKey: Redacted.Redacted<string>): Effect.Effect<Wallet["Service"], WalletError> =>
  Effect.flatMap(accountOf(privateKey), make)

const accountOf = (privateKey: Redacted.Redacted<string>): Effect.Effect<LocalAccount, WalletError> => {
  const invalid = new WalletError({
    operation: "read the private key",
    detail: "expected 32 bytes in hexadecimal, within the order of secp256k1"
  })
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(Redacted.value(privateKey).trim())?.[1]
  return digits === undefined
    ? Effect.fail(invalid)
    : Effect.try({ try: () => privateKeyToAccount(`0x${digits}`), catch: () => invalid })
}

/**
 * A viem account that holds its key in this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (account: LocalAccount): Layer.Layer<Wallet, WalletError> => Layer.effect(Wallet, make(account))

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
 * import * as Config from "effect/Config"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const BaseWallet = Wallet.layerConfig({ privateKey: Config.Redacted("BASE_KEY") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<{ readonly privateKey: Redacted.Redacted<string> }> = {
    privateKey: Config.Redacted("MPP_PRIVATE_KEY")
  }
): Layer.Layer<Wallet, WalletError | Config.ConfigError> =>
  Layer.effect(Wallet, Effect.flatMap(Config.unwrap(options), ({ privateKey }) => fromPrivateKey(privateKey)))
