/**
 * A wallet for tests, whose key everybody knows: the second account of every local chain. It signs whatever it is asked
 * to, like any wallet. On a chain that others can reach, whatever it owns is anybody's: never send it real money.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Address, Hex } from "viem"
import * as Wallet from "../Wallet.ts"

/**
 * The second key of the mnemonic "test test test test test test test test test test test junk", which nodes for
 * development are born with. The first one settles for the facilitator of a local chain.
 *
 * @category constants
 * @since 0.1.0
 */
export const privateKey: Redacted.Redacted<Hex> = Redacted.make(
  "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
  { label: "private key of the test wallet" }
)

/**
 * Its address.
 *
 * @category constants
 * @since 0.1.0
 */
export const address: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

/**
 * The wallet, for tests only.
 *
 * **Example** (Who pays in a test)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import { TestWallet } from "effect-mpp/testing"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const payer = Effect.map(Wallet.Wallet, (wallet) => wallet.address)
 * await Effect.runPromise(Effect.provide(payer, TestWallet.layer)) // => TestWallet.address
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Wallet.Wallet> = Layer.orDie(Wallet.layerPrivateKey(privateKey))
