/**
 * What leaves a wallet by EIP-3009 authorisations, whoever has signed them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Address, Hex } from "viem"
import { pad, toEventSelector } from "viem/utils"
import type { Asset } from "../Asset.ts"
import type * as Chain from "../Chain.ts"
import type { Account, Movement } from "../Movement.ts"
import * as Movements from "./Movements.ts"

const used = toEventSelector("AuthorizationUsed(address,bytes32)")
const transfer = toEventSelector("Transfer(address,address,uint256)")

const word = (value: Hex) => pad(value, { size: 32 }).toLowerCase() as Hex
const isFrom = (log: Chain.Log, token: string, topic: Hex, payer: Hex) =>
  log.address.toLowerCase() === token.toLowerCase() && log.topics[0]?.toLowerCase() === topic &&
  log.topics[1]?.toLowerCase() === payer

/**
 * What an authorisation is found by.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mark = (
  { network, nonce, payer, token }: {
    readonly network: string
    readonly token: string
    readonly payer: string
    readonly nonce: string
  }
): string => [network, token, payer, nonce].join("/").toLowerCase()

/**
 * What one log of a use has moved. A token writes both logs of each transfer, so that those of one transaction belong together
 * in their order; where their numbers differ, all that the transaction moved counts for each.
 */
const detailsOf = Effect.fnUntraced(function*({ log, node }: Movements.Shown, token: string, payer: Hex) {
  const logs = yield* node.receiptLogs(log.transactionHash)
  const uses = logs.filter((one) => isFrom(one, token, used, payer))
  const transfers = logs.filter((one) =>
    isFrom(one, token, transfer, payer) && one.topics.length === 3 && /^0x[0-9a-fA-F]{64}$/.test(one.data)
  )
  const own = uses.findIndex((one) => one.topics[2]?.toLowerCase() === log.topics[2]?.toLowerCase())
  const moved = uses.length === transfers.length ? transfers.slice(own, own + 1) : transfers
  return {
    units: moved.reduce((sum, { data }) => sum + BigInt(data), 0n),
    fee: 0n,
    payee: `0x${(moved[0]?.topics[2] ?? "").slice(-40)}`,
    at: yield* Movements.timeOf(node, log.blockNumber)
  }
})

/**
 * A wallet's account in a token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (nodes: ReadonlyArray<Chain.Node>, asset: Asset, token: Hex, address: Address): Account => {
  const payer = word(address)
  const { network } = asset
  return {
    name: ["eip3009", network, token, address].join("/").toLowerCase(),
    network,
    asset,
    payer: address,
    hasUniqueMarks: true,
    moved: Effect.fn("Eip3009Account.moved")(function*(since) {
      const found = yield* Movements.look(nodes, { token, topics: [used, payer], count: 3, since })
      const movements = found.logs.map((shown): Movement => {
        const { isFinal, log: { topics, transactionHash } } = shown
        const name = mark({ network, token, payer: address, nonce: topics[2] ?? "" })
        return {
          reference: `${name}/${transactionHash.toLowerCase()}`,
          transaction: transactionHash.toLowerCase(),
          marks: [name],
          isFinal,
          details: detailsOf(shown, token, payer)
        }
      })
      return { ...found, movements }
    })
  }
}
