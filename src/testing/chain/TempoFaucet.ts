/**
 * Money for the accounts of a local Tempo chain: transfers out of what its last account holds, marked by a memo, so that
 * nobody takes them for payments.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { Address, Hex } from "viem"
import { Abis } from "viem/tempo"
import { encodeFunctionData, keccak256, stringToHex } from "viem/utils"
import { ChainError } from "../../PaymentError.ts"
import { minter } from "./Accounts.ts"
import * as Anvil from "./Anvil.ts"

/**
 * The memo of what the faucet gave.
 *
 * @category constants
 * @since 0.1.0
 */
export const memo: Hex = keccak256(stringToHex("effect-mpp/testing/chain/Tempo"))

/**
 * The tokens that a chain begins with: pathUSD, AlphaUSD, BetaUSD, ThetaUSD.
 *
 * @category constants
 * @since 0.1.0
 */
export const tokens: readonly [pathUsd: Address, alphaUsd: Address, betaUsd: Address, thetaUsd: Address] = [
  "0x20c0000000000000000000000000000000000000",
  "0x20c0000000000000000000000000000000000001",
  "0x20c0000000000000000000000000000000000002",
  "0x20c0000000000000000000000000000000000003"
]

const Receipt = Schema.NullOr(Schema.Struct({ status: Anvil.HexText }))

/**
 * Gives an account base units of a token, and waits until it has them. Answers with the transaction.
 *
 * @category models
 * @since 0.1.0
 */
export type Faucet = (token: string, to: Address, units: bigint) => Effect.Effect<Hex, ChainError>

/**
 * The faucet of a node.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(node: Anvil.Anvil): Effect.fn.Return<Faucet> {
  const failed = (detail: string) => new ChainError({ network: node.network, operation: "fund", detail })
  /** The node counts the account's transactions, one at a time. */
  const sending = yield* Semaphore.make(1)

  return Effect.fnUntraced(function*(token, to, units) {
    const data = yield* Effect.try({
      try: () => encodeFunctionData({ abi: Abis.tip20, functionName: "transferWithMemo", args: [to, units, memo] }),
      catch: () => failed("no such account, or no such amount")
    })
    const hash = yield* Anvil.read(node, Anvil.HexText, "eth_sendTransaction", [
      { from: minter.address, to: token, data }
    ])
    // By hand, so that it needs no clock and works in every mode of mining.
    yield* node.rpc("evm_mine")
    const receipt = yield* Anvil.read(node, Receipt, "eth_getTransactionReceipt", [hash])
    if (receipt === null || BigInt(receipt.status) !== 1n) return yield* failed("the transfer was reverted")
    return hash
  }, sending.withPermit)
})
