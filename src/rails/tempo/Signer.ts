/**
 * Signs Tempo transactions, and sees to it that what comes back is what was asked for: a signer that fills in fields of its
 * own would make a payment that nobody has written down.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { Hex } from "viem"
import { Transaction } from "viem/tempo"
import { fromRlp } from "viem/utils"
import { WalletError } from "../../PaymentError.ts"
import type { Wallet } from "../../Wallet.ts"
import * as TempoTransaction from "../../wire/mpp/TempoTransaction.ts"

const unusable = (detail: string) => new WalletError({ operation: "sign the payment", detail })

/** Where the sender of a sponsored transaction stands, until its fee payer signs. */
const feePayerAt = 11

const membersOf = Option.liftThrowable((serialized: Hex) => fromRlp(`0x${serialized.slice(4)}`))

/** Whether a signed transaction is an unsigned one with a signature, and nothing more. */
const isSignatureOf = (transaction: TempoTransaction.Unsigned, unsigned: Hex, signed: Hex): boolean => {
  const isOfType = signed.startsWith(transaction.sponsored ? "0x78" : "0x76")
  return isOfType && Option.exists(
    Option.all([membersOf(unsigned), membersOf(signed)]),
    ([expected, given]) =>
      given.length === expected.length + 1 &&
      [...expected].every((member, at) =>
        JSON.stringify(given[at]) ===
          JSON.stringify(transaction.sponsored && at === feePayerAt ? transaction.from : member)
      )
  )
}

/**
 * Makes the signer of a wallet's transactions: field for field as they were written down.
 *
 * **Details**
 *
 * The signature alone says who pays, and what another account paid would never be found again. So it is looked at: each
 * time, or once where a key of this process signs, which has repeated its signatures and cannot change.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(wallet: Wallet["Service"]) {
  const isKnown = yield* Ref.make(false)
  return Effect.fnUntraced(function*(transaction: TempoTransaction.Unsigned): Effect.fn.Return<Hex, WalletError> {
    const serializable = TempoTransaction.serializable(transaction)
    const unsigned = yield* Effect.tryPromise({
      try: () => Transaction.serialize(serializable),
      catch: () => unusable("the transaction cannot be written")
    })
    const signed = yield* wallet.signTransaction(serializable, Transaction.serialize)
    if (!isSignatureOf(transaction, unsigned, signed)) {
      return yield* unusable("the wallet signed another transaction than the one that was planned")
    }
    if (yield* Ref.get(isKnown)) return signed
    if (!Option.exists(TempoTransaction.decode(signed), ({ from }) => from === transaction.from)) {
      return yield* unusable("the wallet signed for another account than its own")
    }
    yield* Ref.set(isKnown, wallet.resign === "same")
    return signed
  })
})
