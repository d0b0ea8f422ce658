/**
 * A Tempo chain that does as it is told: a block every second, expiring nonces, fees in dollars, and nodes that lie, fail, or
 * say nothing.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Hex } from "viem"
import {
  decodeFunctionData,
  keccak256,
  pad,
  parseAbi,
  sha256,
  stringToHex,
  toEventSelector,
  toFunctionSelector
} from "viem/utils"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"

export const chainId = 42431
export const network = `eip155:${chainId}`
/** pathUSD. */
export const token = "0x20c0000000000000000000000000000000000000"
const feeManager = "0xfeec000000000000000000000000000000000000"

/** What a node answers to a call; or it is down, or never answers. */
export type Answer = { readonly result: unknown } | { readonly error: unknown } | "down" | "hangs"

/** A call of a node, and its honest answer, which carries the call out. */
export interface Call {
  readonly host: string
  readonly method: string
  readonly params: ReadonlyArray<unknown>
  readonly honest: () => { readonly result: unknown } | { readonly error: unknown }
}

/** What moved in one transaction. */
export interface Transfer {
  readonly from: string
  readonly to: string
  readonly units: bigint
  readonly memo: string | undefined
}

export interface Mined {
  readonly hash: Hex
  readonly transaction: TempoTransaction.Decoded
  readonly block: number
  readonly succeeded: boolean
  readonly transfers: ReadonlyArray<Transfer>
  readonly gasUsed: bigint
  readonly gasPrice: bigint
  /** What the payer paid for it, in units of the fee's token, which are micro-dollars. */
  readonly fee: bigint
}

/** What the payer's balance lost by a transaction. */
export const takenBy = ({ fee, transfers }: Mined): bigint => transfers.reduce((sum, { units }) => sum + units, fee)

const abi = parseAbi([
  "function transfer(address to, uint256 amount)",
  "function transferWithMemo(address to, uint256 amount, bytes32 memo)"
])

const topics = {
  transfer: toEventSelector("Transfer(address,address,uint256)"),
  withMemo: toEventSelector("TransferWithMemo(address,address,uint256,bytes32)")
}
const balanceOf = toFunctionSelector("balanceOf(address)")

const hex = (value: number | bigint): Hex => `0x${value.toString(16)}`
const word = (value: string) => pad(value as Hex, { size: 32 }).toLowerCase()
const lower = (value: unknown) => String(value).toLowerCase()

/** What says nothing of what the payer signed. */
const notSigned = new Set(["serializable", "sponsored", "feePayerSigned"])

/** A block is final when it is this old, in seconds. */
const finality = 3
/** Blocks before the first that a test sees. */
const depth = 10_000

export class TempoChain {
  private readonly genesis: number
  private haltedAt: number | undefined
  private transactions: ReadonlyArray<Mined> = []
  /** Transactions that a node has taken and no block has. */
  private pending: ReadonlyArray<Hex> = []
  /** By how many seconds the agent's clock is behind that of everybody else. */
  skew = 0
  /** What the payer holds, in base units. */
  balance = 10n ** 12n
  /** In units of 10^-18 dollar. */
  baseFee = 20n * 10n ** 9n
  /** What a transaction of one transfer takes, and what nodes say that it will; each further one takes {@link gasPerCall}. */
  gas = 60_000n
  gasPerCall = 20_000n
  /** How far ahead of a block an expiring nonce may expire, in seconds. */
  window = 30
  /** Whether transactions fail in their blocks. */
  reverts = false
  /** Whether what nodes take gets into a block at once, or only by {@link mine}. */
  mines = true
  /** Whether nodes have `eth_sendRawTransactionSync`. */
  waits = false
  /** What a node answers instead of the truth; undefined: the truth. */
  lie: (call: Call) => Answer | undefined = () => undefined
  readonly calls: Array<{ readonly host: string; readonly method: string }> = []

  constructor(seconds: number) {
    this.genesis = seconds - depth
  }

  get mined(): ReadonlyArray<Mined> {
    return this.transactions
  }

  /** What each transfer moved, fees aside. */
  get moved(): ReadonlyArray<bigint> {
    return this.transactions.flatMap(({ transfers }) => transfers.map(({ units }) => units))
  }

  /** What the payer has lost, fees included. */
  get taken(): bigint {
    return this.transactions.reduce((sum, mined) => sum + takenBy(mined), 0n)
  }

  /** No further blocks, until it goes on. */
  halt(seconds: number): void {
    this.haltedAt = seconds
  }

  goOn(): void {
    this.haltedAt = undefined
  }

  /** The last transaction is gone with its block. */
  reorganise(): void {
    this.transactions = this.transactions.slice(0, -1)
  }

  /** Makes a block of what nodes have taken. */
  mine(seconds: number): void {
    const due = this.pending
    this.pending = []
    for (const signed of due) this.include(signed, seconds)
  }

  /** Hands over a transaction; answers its hash, or why it is not taken. A merchant that sponsors it pays the fee. */
  submit(signed: string, seconds: number, sponsors = false): { readonly hash: Hex } | { readonly refused: string } {
    const decoded = Option.getOrUndefined(TempoTransaction.decode(signed))
    if (decoded === undefined) return { refused: "it cannot be decoded" }
    if (decoded.sponsored !== sponsors) {
      return { refused: sponsors ? "it is not to be sponsored" : "it lacks a sponsor" }
    }
    const hash = this.hashOf(signed as Hex, sponsors)
    if (this.pending.includes(signed as Hex)) return { refused: "already known" }
    const flaw = this.flaw(decoded, seconds)
    if (flaw !== undefined) return { refused: flaw }
    if (this.mines) this.include(signed as Hex, seconds)
    else this.pending = [...this.pending, signed as Hex]
    return { hash }
  }

  find(hash: string): Mined | undefined {
    return this.transactions.find((it) => it.hash === lower(hash))
  }

  private gasOf(calls: ReadonlyArray<unknown>): bigint {
    return this.gas + this.gasPerCall * BigInt(calls.length - 1)
  }

  private hashOf(signed: Hex, sponsored: boolean): Hex {
    return sponsored ? sha256(signed) : keccak256(signed)
  }

  /** The sponsor's signature changes the hash, and nothing else the replay protection: it is by what the payer signed. */
  private static signedPart(decoded: TempoTransaction.Decoded) {
    const members = Object.entries(decoded).filter(([name]) => !notSigned.has(name))
    return JSON.stringify(members, (_, value) => typeof value === "bigint" ? String(value) : value)
  }

  private flaw(decoded: TempoTransaction.Decoded, seconds: number): string | undefined {
    const { gas, maxFeePerGas, nonce, nonceKey, sponsored, validBefore = Infinity } = decoded
    if (decoded.chainId !== chainId) return "invalid chain id"
    if (nonceKey !== TempoTransaction.expiringNonceKey || nonce !== 0n) return "only expiring nonces are known here"
    if (seconds >= validBefore) return "transaction expired"
    if (validBefore > seconds + this.window) return "expiring nonce too far in the future"
    if (this.transactions.some((it) => TempoChain.signedPart(it.transaction) === TempoChain.signedPart(decoded))) {
      return "already known"
    }
    if (maxFeePerGas < this.baseFee) return "max fee per gas less than block base fee"
    if (gas < this.gasOf(decoded.calls)) return "intrinsic gas too low"
    const needed = (sponsored ? 0n : fee(gas, maxFeePerGas)) + sum(transfersOf(decoded).map(({ units }) => units))
    return needed > this.balance ? "insufficient funds" : undefined
  }

  private include(signed: Hex, seconds: number): void {
    const transaction = Option.getOrThrow(TempoTransaction.decode(signed))
    if (this.flaw(transaction, seconds) !== undefined) return
    const prioritised = this.baseFee + transaction.maxPriorityFeePerGas
    const gasPrice = prioritised < transaction.maxFeePerGas ? prioritised : transaction.maxFeePerGas
    const mined: Mined = {
      hash: this.hashOf(signed, transaction.sponsored),
      transaction,
      block: this.tip(seconds),
      succeeded: !this.reverts,
      transfers: this.reverts ? [] : transfersOf(transaction),
      gasUsed: this.gasOf(transaction.calls),
      gasPrice,
      fee: transaction.sponsored ? 0n : fee(this.gasOf(transaction.calls), gasPrice)
    }
    this.transactions = [...this.transactions, mined]
    this.balance -= takenBy(mined)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // JSON-RPC
  // -------------------------------------------------------------------------------------------------------------------

  /** What the node of a host answers to a JSON-RPC call. */
  answer(host: string, seconds: number, method: string, params: ReadonlyArray<unknown>): Effect.Effect<object, "down"> {
    this.calls.push({ host, method })
    const honest = () => this.result(seconds, method, params)
    const answer = this.lie({ host, method, params, honest }) ?? honest()
    if (answer === "hangs") return Effect.never
    return answer === "down" ? Effect.fail("down") : Effect.succeed({ jsonrpc: "2.0", id: 1, ...answer })
  }

  private tip(seconds: number): number {
    return (this.haltedAt ?? seconds) - this.genesis
  }

  private numberOf(tag: string, seconds: number): number {
    return tag === "latest" || tag === "pending"
      ? this.tip(seconds)
      : tag === "finalized"
      ? Math.max(0, this.tip(seconds) - finality)
      : Number(tag)
  }

  private result(seconds: number, method: string, params: ReadonlyArray<unknown>) {
    switch (method) {
      case "eth_chainId":
        return { result: hex(chainId) }
      case "eth_getCode":
        return { result: "0x" }
      case "eth_gasPrice":
        return { result: hex(this.baseFee) }
      case "eth_maxPriorityFeePerGas":
        return { result: "0x0" }
      case "eth_estimateGas":
        return { result: hex(this.gasOf((params[0] as { readonly calls: ReadonlyArray<unknown> }).calls)) }
      case "eth_getBlockByNumber": {
        const number = this.numberOf(String(params[0]), seconds)
        return {
          result: number > this.tip(seconds)
            ? null
            : { number: hex(number), timestamp: hex(this.genesis + number), baseFeePerGas: hex(this.baseFee) }
        }
      }
      case "eth_call": {
        const [{ data }] = params as [{ readonly data: string }]
        return data.startsWith(balanceOf) ? { result: word(hex(this.balance)) } : { result: "0x" }
      }
      case "eth_sendRawTransaction":
      case "eth_sendRawTransactionSync": {
        if (method.endsWith("Sync") && !this.waits) return { error: { code: -32601, message: "unknown method" } }
        const submitted = this.submit(String(params[0]), seconds)
        if ("refused" in submitted) return { error: { code: -32000, message: submitted.refused } }
        const mined = this.find(submitted.hash)
        if (method === "eth_sendRawTransaction") return { result: submitted.hash }
        return mined === undefined
          ? { error: { code: 4, message: "the transaction was not mined in time" } }
          : { result: receiptOf(mined) }
      }
      case "eth_getTransactionReceipt": {
        const mined = this.find(String(params[0]))
        return { result: mined === undefined ? null : receiptOf(mined) }
      }
      case "eth_getTransactionByHash": {
        const mined = this.find(String(params[0]))
        if (mined === undefined) return { result: null }
        const { from, gas, maxFeePerGas } = mined.transaction
        return { result: { hash: mined.hash, from, gas: hex(gas), maxFeePerGas: hex(maxFeePerGas), type: "0x76" } }
      }
      case "eth_getLogs": {
        const [filter] = params as [Filter]
        const first = this.numberOf(filter.fromBlock, seconds)
        const last = this.numberOf(filter.toBlock, seconds)
        return {
          result: this.transactions.filter(({ block }) => block >= first && block <= last).flatMap(logsOf)
            .filter((log) => isAsked(filter, log))
        }
      }
      default:
        return { error: { code: -32601, message: "unknown method" } }
    }
  }
}

interface Filter {
  readonly fromBlock: string
  readonly toBlock: string
  readonly address?: string
  readonly topics?: ReadonlyArray<string | ReadonlyArray<string> | null>
}

const sum = (amounts: ReadonlyArray<bigint>) => amounts.reduce((total, amount) => total + amount, 0n)

const fee = (gas: bigint, price: bigint): bigint => (gas * price + 10n ** 12n - 1n) / 10n ** 12n

/** The transfers that a transaction makes. */
export const transfersOf = ({ calls, from }: TempoTransaction.Decoded): ReadonlyArray<Transfer> =>
  calls.map(({ data }): Transfer => {
    const { args: [to, units, memo] } = decodeFunctionData({ abi, data })
    return { from, to: lower(to), units, memo }
  })

type Log = ReturnType<typeof logsOf>[number]

const isAsked = ({ address, topics = [] }: Filter, log: Log): boolean =>
  (address === undefined || lower(address) === log.address) &&
  topics.every((asked, at) =>
    asked === null || (typeof asked === "string" ? [asked] : asked).some((it) => lower(it) === log.topics[at])
  )

/** A transfer with a memo tells twice of itself, and the fee is a transfer as well. */
export const logsOf = ({ block, fee, hash, transaction, transfers }: Mined) => {
  const log = (topics: ReadonlyArray<string>, units: bigint) => ({
    transactionHash: hash,
    blockNumber: hex(block),
    address: token,
    topics: topics.map(lower),
    data: word(hex(units))
  })
  return [
    ...transfers.flatMap(({ from, memo, to, units }) => [
      log([topics.transfer, word(from), word(to)], units),
      ...(memo === undefined ? [] : [log([topics.withMemo, word(from), word(to), memo], units)])
    ]),
    ...(fee === 0n ? [] : [log([topics.transfer, word(transaction.from), word(feeManager)], fee)])
  ]
}

export const receiptOf = (mined: Mined) => ({
  transactionHash: mined.hash,
  blockNumber: hex(mined.block),
  blockHash: sha256(stringToHex(String(mined.block))),
  status: mined.succeeded ? "0x1" : "0x0",
  gasUsed: hex(mined.gasUsed),
  effectiveGasPrice: hex(mined.gasPrice),
  from: mined.transaction.from,
  logs: logsOf(mined)
})
