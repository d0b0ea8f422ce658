/**
 * A chain that does as it is told: it holds transfers back, stands still, loses blocks, and its nodes lie.
 */
import * as Effect from "effect/Effect"
import { pad, sha256, stringToHex, toEventSelector, toFunctionSelector } from "viem/utils"

export const network = "eip155:84532"
export const token = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"

/** How a node behaves. `blind` sees no payment at all, `pruned` keeps no logs, `stranger` answers for another chain,
 * and on a `delegated` one every account has code. */
export type Manner = "honest" | "down" | "hangs" | "blind" | "pruned" | "stranger" | "delegated"

/** What a payer has signed. */
export interface Authorization {
  readonly from: string
  readonly to: string
  readonly value: string
  readonly validBefore: string
  readonly nonce: string
}

interface Use {
  readonly authorization: Authorization
  readonly canceled: boolean
  readonly transaction: string
  readonly block: number
}

const used = toEventSelector("AuthorizationUsed(address,bytes32)")
const canceled = toEventSelector("AuthorizationCanceled(address,bytes32)")
const transfer = toEventSelector("Transfer(address,address,uint256)")

const balanceOf = toFunctionSelector("balanceOf(address)")

const hex = (value: number | bigint) => `0x${value.toString(16)}`
const word = (value: string) => pad(value as `0x${string}`, { size: 32 }).toLowerCase()

/** A block is final when it is this old, in seconds. */
const finality = 20

export class ScriptedChain {
  /** Time stamps in seconds, by number. */
  private readonly stamps: Array<number>
  private uses: ReadonlyArray<Use> = []
  private isHalted = false
  /** What every account holds, in base units. */
  balance = 10n ** 12n
  /** How the node of each host behaves. */
  readonly manners = new Map<string, Manner>()

  constructor(seconds: number) {
    this.stamps = [seconds - 60, seconds - 30]
  }

  /** Base units that moved, one entry for each transfer. */
  get moved(): ReadonlyArray<bigint> {
    return this.transfers.map(({ authorization }) => BigInt(authorization.value))
  }

  get transfers(): ReadonlyArray<Use> {
    return this.uses.filter((use) => !use.canceled)
  }

  /** No further blocks, until it goes on. */
  halt() {
    this.isHalted = true
  }

  goOn() {
    this.isHalted = false
  }

  /** Puts a transfer into a block of its own; answers its transaction, or nothing if the token would revert. */
  settle(authorization: Authorization, seconds: number): string | undefined {
    const isVoid = this.find(authorization.nonce) !== undefined || seconds >= Number(authorization.validBefore) ||
      BigInt(authorization.value) > this.balance
    return isVoid ? undefined : this.use(authorization, seconds, false)
  }

  cancel(authorization: Authorization, seconds: number): void {
    this.use(authorization, seconds, true)
  }

  /** The last block with a payment is gone, and what was in it, if it was not final. */
  reorganise(seconds: number): void {
    const last = this.uses.at(-1)
    if (last === undefined || this.stamps[last.block]! <= seconds - finality) return
    this.uses = this.uses.slice(0, -1)
    this.stamps.length = last.block
  }

  /** A block every ten seconds, as far as anybody looks back. */
  private mine(seconds: number): void {
    const last = Math.max(this.stamps.at(-1)!, seconds - 600)
    for (let stamp = last + 10; stamp < seconds; stamp += 10) this.stamps.push(stamp)
    if (seconds > this.stamps.at(-1)!) this.stamps.push(seconds)
  }

  private use(authorization: Authorization, seconds: number, canceled: boolean): string {
    this.stamps.push(seconds)
    const block = this.stamps.length - 1
    const transaction = sha256(stringToHex(`${authorization.nonce} ${block}`))
    this.uses = [...this.uses, { authorization, canceled, transaction, block }]
    return transaction
  }

  private find(nonce: string): Use | undefined {
    return this.uses.find(({ authorization }) => authorization.nonce.toLowerCase() === nonce.toLowerCase())
  }

  /** What the node of a host answers to a JSON-RPC call. */
  answer(host: string, seconds: number, method: string, params: ReadonlyArray<unknown>): Effect.Effect<object, "down"> {
    const manner = this.manners.get(host) ?? "honest"
    if (manner === "hangs") return Effect.never
    if (manner === "down") return Effect.fail("down")
    if (!this.isHalted) this.mine(seconds)
    return Effect.succeed({ jsonrpc: "2.0", id: 1, ...this.result(manner, seconds, method, params) })
  }

  private result(manner: Manner, seconds: number, method: string, params: ReadonlyArray<unknown>): object {
    switch (method) {
      case "eth_chainId":
        return { result: manner === "stranger" ? "0x1" : hex(Number(network.split(":")[1])) }
      case "eth_getCode":
        return { result: manner === "delegated" ? `0xef0100${"66".repeat(20)}` : "0x" }
      case "eth_getBlockByNumber": {
        const number = this.numberOf(params[0] as string, seconds)
        const stamp = this.stamps[number]
        return { result: stamp === undefined ? null : { number: hex(number), timestamp: hex(stamp) } }
      }
      case "eth_call": {
        const [{ data }, at] = params as [{ readonly data: string }, string]
        if (data.startsWith(balanceOf)) return { result: word(hex(this.balance)) }
        const use = this.find(`0x${data.slice(-64)}`)
        const isUsed = manner !== "blind" && use !== undefined && use.block <= this.numberOf(at, seconds)
        return { result: word(isUsed ? "0x1" : "0x0") }
      }
      case "eth_getLogs": {
        if (manner === "pruned") return { error: { code: -32000, message: "the logs are pruned" } }
        const [{ fromBlock, toBlock, topics }] = params as [
          { readonly fromBlock: string; readonly toBlock: string; readonly topics: ReadonlyArray<string> }
        ]
        const use = this.find(topics[2]!)
        const isWithin = use !== undefined && use.block >= Number(fromBlock) && use.block <= Number(toBlock)
        return { result: isWithin ? [this.nonceLog(use)] : [] }
      }
      case "eth_getTransactionReceipt": {
        const use = this.uses.find(({ transaction }) => transaction === params[0])
        return { result: use === undefined ? null : { logs: [this.nonceLog(use), this.transferLog(use)] } }
      }
      default:
        return { error: { code: -32601, message: "unknown method" } }
    }
  }

  private numberOf(tag: string, seconds: number): number {
    if (tag === "latest") return this.stamps.length - 1
    return tag === "finalized"
      ? Math.max(0, this.stamps.findLastIndex((stamp) => stamp <= seconds - finality))
      : Number(tag)
  }

  private nonceLog({ authorization, block, canceled: isCanceled, transaction }: Use): object {
    return {
      transactionHash: transaction,
      blockNumber: hex(block),
      address: token.toLowerCase(),
      topics: [isCanceled ? canceled : used, word(authorization.from), authorization.nonce],
      data: "0x"
    }
  }

  private transferLog({ authorization, block, transaction }: Use): object {
    return {
      transactionHash: transaction,
      blockNumber: hex(block),
      address: token.toLowerCase(),
      topics: [transfer, word(authorization.from), word(authorization.to)],
      data: word(hex(BigInt(authorization.value)))
    }
  }
}
