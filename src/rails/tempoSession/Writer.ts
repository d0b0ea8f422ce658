/**
 * Writes and signs the transactions of channels. What it needs takes a while to load.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Hex } from "viem"
import { Transaction } from "viem/tempo"
import { concatHex, keccak256 } from "viem/utils"
import { WalletError } from "../../PaymentError.ts"
import type { Wallet } from "../../Wallet.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import * as Signer from "../tempo/Signer.ts"

/**
 * Makes the writer of a wallet's transactions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(wallet: Wallet["Service"]) {
  const sign = yield* Signer.make(wallet)
  return {
    sign,
    /** What the id of a channel takes from the transaction that opens it: a hash of what is signed, and of who signs. */
    describe: Effect.fnUntraced(function*(
      transaction: TempoUnsigned.Unsigned
    ): Effect.fn.Return<{ readonly expiringNonceHash: Hex }, WalletError> {
      const unsigned = yield* Effect.tryPromise({
        try: () => Transaction.serialize(TempoUnsigned.serializable(transaction)),
        catch: () => new WalletError({ operation: "open a channel", detail: "the transaction cannot be written" })
      })
      return { expiringNonceHash: keccak256(concatHex([unsigned, transaction.from])) }
    })
  }
})
