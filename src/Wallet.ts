/**
 * Who signs: a viem account behind a service. It only signs; it never broadcasts and never asks a chain.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Address, Hex, TypedDataDefinition } from "viem"
import type { WalletError } from "./PaymentError.ts"

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
