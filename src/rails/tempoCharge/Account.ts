/**
 * What leaves a wallet on a Tempo chain by transfers with a memo, as charges are paid, whoever has signed them. A transfer
 * without one is no payment.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address } from "viem"
import type { Asset } from "../../Asset.ts"
import type * as Chain from "../../Chain.ts"
import type { Account, Movement } from "../../Movement.ts"
import type { Transfer } from "../../wire/mpp/TempoCharge.ts"
import * as Movements from "../Movements.ts"
import * as Logs from "../tempo/Logs.ts"

/**
 * Whether an asset is a token of a Tempo chain, whose addresses begin alike.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isTip20 = ({ address, usd }: Asset): boolean => usd && /^0x20c0[0]{8}[0-9a-f]{28}$/i.test(address)

interface Payer {
  readonly network: string
  readonly token: string
  readonly payer: string
}

/**
 * What a payment is found by: its first transfer. Where a merchant gives every payment the same memo, several have the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const mark = ({ network, payer, token }: Payer, { memo = "0x", to, units }: Transfer): string =>
  [network, token, payer, to, units, memo].join("/").toLowerCase()

/** The units and the payee of a transfer from an account. */
const transferOf = (log: Chain.Log, topic: string, token: string, payer: Address) =>
  Logs.sameHex(log.address, token) && Logs.sameHex(log.topics[0], topic) &&
    Logs.sameHex(log.topics[1], Logs.word(payer))
    ? Option.map(Logs.unitsOf(log), (units) => ({ units, to: `0x${(log.topics[2] ?? "").slice(-40)}` as const }))
    : Option.none()

/** All that the transaction took from the account, its fee and all parts of the price included. */
const detailsOf = Effect.fnUntraced(function*({ log, node }: Movements.Shown, token: string, payer: Address) {
  const payee = transferOf(log, Logs.topics.withMemo, token, payer)
  const logs = yield* node.receiptLogs(log.transactionHash)
  const taken = logs.flatMap((one) => Option.toArray(transferOf(one, Logs.topics.transfer, token, payer)))
  const sumOf = (some: typeof taken) => some.reduce((sum, { units }) => sum + units, 0n)
  const fee = sumOf(taken.filter(({ to }) => Logs.sameHex(to, Logs.feeManager)))
  return {
    units: sumOf(taken) - fee,
    fee,
    payee: Option.match(payee, { onNone: () => "", onSome: ({ to }) => to }),
    at: yield* Movements.timeOf(node, log.blockNumber)
  }
})

/**
 * A wallet's account in a token.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (nodes: ReadonlyArray<Chain.Node>, asset: Asset, token: Address, payer: Address): Account => {
  const { network } = asset
  const name = [network, token, payer].join("/").toLowerCase()
  return {
    name: `tempo/${name}`,
    network,
    asset,
    payer,
    hasUniqueMarks: false,
    moved: Effect.fn("TempoAccount.moved")(function*(since) {
      const topics = [Logs.topics.withMemo, Logs.word(payer)] as const
      const found = yield* Movements.look(nodes, { token, topics, count: 4, since })
      const payments = new Map<string, Movement>()
      for (const shown of found.logs) {
        const { isFinal, log } = shown
        const transaction = log.transactionHash.toLowerCase()
        const transfer = transferOf(log, Logs.topics.withMemo, token, payer)
        const memo = log.topics[3]
        const marks = Option.isSome(transfer) && memo !== undefined
          ? [mark({ network, token, payer }, { ...transfer.value, memo })]
          : []
        const before = payments.get(transaction)
        payments.set(
          transaction,
          before === undefined
            ? {
              reference: `${name}/${transaction}`,
              transaction,
              marks,
              isFinal,
              details: detailsOf(shown, token, payer)
            }
            : { ...before, marks: [...before.marks, ...marks] }
        )
      }
      return { ...found, movements: [...payments.values()] }
    })
  }
}
