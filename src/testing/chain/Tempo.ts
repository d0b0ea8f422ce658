/**
 * A local Tempo chain: a real node with dollars on it, whose fees are paid in dollars, and no network.
 *
 * It needs the npm packages `@foundry-rs/anvil` and `solc`, and Node. Everything listens on loopback alone and ends with the
 * layer's scope, or with the process. The node is of Tempo's hard fork T4. Where it has no channel reserve, a contract
 * stands in; no fee and no figure of gas from here is Tempo's.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Address, Hex } from "viem"
import { Abis, Addresses } from "viem/tempo"
import {
  decodeEventLog,
  decodeFunctionResult,
  encodeEventTopics,
  encodeFunctionData,
  isAddressEqual,
  numberToHex
} from "viem/utils"
import { Asset } from "../../Asset.ts"
import type { ChainError } from "../../PaymentError.ts"
import { type Account, accounts } from "./Accounts.ts"
import * as Anvil from "./Anvil.ts"
import * as ChannelReserve from "./ChannelReserve.ts"
import * as TempoFaucet from "./TempoFaucet.ts"
import * as TempoProxy from "./TempoProxy.ts"

export type { Account } from "./Accounts.ts"

/**
 * A transfer of a token. Neither what the chain takes as a fee is one, nor what {@link TempoChain} gave.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transfer {
  readonly from: Address
  readonly to: Address
  readonly units: bigint
  /** 32 bytes. */
  readonly memo?: Hex
  readonly transaction: Hex
  readonly blockNumber: bigint
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Partial<Anvil.Options> {
  /**
   * Makes a block for every transaction, at once, besides those that come every `blockTime` (default true). Blocks that come
   * without a transaction (default every second) keep the chain's clock going.
   */
  readonly mixedMining?: boolean | undefined
}

/**
 * @category services
 * @since 0.1.0
 */
export class TempoChain extends Context.Service<TempoChain, {
  /** On loopback. */
  readonly rpcUrl: string
  /** The node itself. It has no faucet, no channel reserve that works, and prices Tempo transactions too low. */
  readonly nodeUrl: string
  readonly chainId: number
  /** CAIP-2. */
  readonly network: string
  readonly pathUsd: Asset
  /** In which the fees of {@link accounts} are paid, unless a transaction names another token. */
  readonly alphaUsd: Asset
  /** `pathUsd` and `alphaUsd`. */
  readonly assets: ReadonlyArray<Asset>
  /** Ten of them, rich in every token. The last is the faucet. */
  readonly accounts: ReadonlyArray<Account>
  /** Gives an account base units of a token (default pathUSD). Makes a block, whatever the mode of mining. */
  readonly fund: (to: Address, units: bigint, token?: string) => Effect.Effect<void, ChainError>
  /**
   * Base units of a token (default pathUSD). Who paid a fee is to be seen here alone: in receipts the node names the sender
   * whoever paid, and leaves the token out.
   */
  readonly balance: (account: Address, token?: string) => Effect.Effect<bigint, ChainError>
  /** Every transfer of a token (default pathUSD) so far, oldest first. */
  readonly transfers: (token?: string) => Effect.Effect<ReadonlyArray<Transfer>, ChainError>
  /** Makes blocks (default one). A block is final when two more have followed it. */
  readonly mine: (blocks?: number) => Effect.Effect<void, ChainError>
  /**
   * Seconds since the epoch: the stamp of the next block; time goes on from there.
   *
   * Clients take the time for an expiring nonce from the computer's clock. Once the chain is ahead of that, it finds all of
   * their transactions expired. Send with a protocol nonce then, with validity taken from `now`, or begin another chain.
   */
  readonly setNextTimestamp: (seconds: bigint) => Effect.Effect<void, ChainError>
  /** The stamp that a block made now would have, in seconds since the epoch. */
  readonly now: Effect.Effect<bigint, ChainError>
  readonly blockNumber: Effect.Effect<bigint, ChainError>
  /** One JSON-RPC call; the answer's `result`, as it came. */
  readonly rpc: Anvil.Anvil["rpc"]
}>()("effect-mpp/testing/chain/Tempo/TempoChain") {}

const RpcLog = Schema.Struct({
  topics: Schema.Array(Anvil.HexText),
  data: Anvil.HexText,
  blockNumber: Anvil.HexText,
  transactionHash: Anvil.HexText
})
const RpcBlock = Schema.Struct({ timestamp: Anvil.HexText })

const start = Effect.fnUntraced(function*({
  args = [],
  blockTime = 1,
  chainId = 1337,
  mixedMining = true,
  noMining = false
}: Options) {
  const node = yield* Anvil.start({
    chainId,
    noMining,
    blockTime: noMining ? undefined : blockTime,
    args: [
      "--network",
      "tempo",
      ...(args.includes("--hardfork") ? [] : ["--hardfork", "T4"]),
      // a block is final when two more have followed it
      ...(args.includes("--slots-in-an-epoch") ? [] : ["--slots-in-an-epoch", "1"]),
      // who has dollars alone can pay for a transaction
      ...(args.includes("--disable-pool-balance-checks") ? [] : ["--disable-pool-balance-checks"]),
      ...(mixedMining && !noMining ? ["--mixed-mining"] : []),
      ...args
    ]
  })
  // Block 0 has the stamp 1, at which hardly a transaction is valid yet.
  yield* node.rpc("evm_mine")
  return node
})

const make = Effect.fnUntraced(function*(options: Options) {
  const node = yield* start(options)
  const standsIn = yield* ChannelReserve.install(node)
  const faucet = yield* TempoFaucet.make(node)
  const rpcUrl = yield* TempoProxy.serve(node, { standsIn, faucet })
  const chain = { network: node.network, rpc: Anvil.caller(rpcUrl, node.network) }
  const [pathUsd, alphaUsd] = TempoFaucet.tokens
  const assetOf = (address: Address, symbol: string) =>
    new Asset({ network: node.network, address, symbol, decimals: 6, usd: true, testnet: true })
  const assets = { pathUsd: assetOf(pathUsd, "pathUSD"), alphaUsd: assetOf(alphaUsd, "AlphaUSD") }

  return TempoChain.of({
    rpcUrl,
    nodeUrl: node.rpcUrl,
    chainId: node.chainId,
    network: node.network,
    ...assets,
    assets: Object.values(assets),
    accounts,
    fund: (to, units, token = pathUsd) => Effect.asVoid(faucet(token, to, units)),
    balance: (account, token = pathUsd) =>
      Effect.map(
        Anvil.read(chain, Anvil.HexText, "eth_call", [
          { to: token, data: encodeFunctionData({ abi: Abis.tip20, functionName: "balanceOf", args: [account] }) },
          "latest"
        ]),
        (data) => decodeFunctionResult({ abi: Abis.tip20, functionName: "balanceOf", data })
      ),
    transfers: (token = pathUsd) =>
      Effect.map(
        Anvil.read(chain, Schema.Array(RpcLog), "eth_getLogs", [
          { address: token, topics: [topics], fromBlock: "earliest", toBlock: "latest" }
        ]),
        transfersOf
      ),
    mine: (blocks = 1) => Effect.asVoid(chain.rpc("anvil_mine", [numberToHex(blocks)])),
    setNextTimestamp: (seconds) => Effect.asVoid(chain.rpc("evm_setNextBlockTimestamp", [numberToHex(seconds)])),
    now: Effect.map(
      Anvil.read(chain, RpcBlock, "eth_getBlockByNumber", ["pending", false]),
      ({ timestamp }) => BigInt(timestamp)
    ),
    blockNumber: Effect.map(Anvil.read(chain, Anvil.HexText, "eth_blockNumber"), BigInt),
    rpc: chain.rpc
  })
})

const topics = [
  ...encodeEventTopics({ abi: Abis.tip20, eventName: "Transfer" }),
  ...encodeEventTopics({ abi: Abis.tip20, eventName: "TransferWithMemo" })
]

const isFaucet = ({ memo }: Transfer) => memo === TempoFaucet.memo
const isFee = ({ to }: Transfer) => isAddressEqual(to, Addresses.feeManager)

/** A transfer with a memo has two events: the one of every transfer, and then that with the memo. */
const transfersOf = (logs: ReadonlyArray<typeof RpcLog.Type>): ReadonlyArray<Transfer> => {
  const transfers: Array<Transfer> = []
  for (const { blockNumber, data, topics: [signature, ...indexed], transactionHash: transaction } of logs) {
    if (signature === undefined) continue
    const { args, eventName } = decodeEventLog({ abi: Abis.tip20, topics: [signature, ...indexed], data })
    if (eventName === "Transfer") {
      const { amount: units, from, to } = args
      transfers.push({ from, to, units, transaction, blockNumber: BigInt(blockNumber) })
    } else if (eventName === "TransferWithMemo") {
      const transfer = transfers.pop()
      if (transfer !== undefined) transfers.push({ ...transfer, memo: args.memo })
    }
  }
  return transfers.filter((transfer) => !isFee(transfer) && !isFaucet(transfer))
}

/**
 * A chain of its own, of chain id 1337 unless another is asked for.
 *
 * **Example** (Dollars on a local Tempo chain)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Tempo from "effect-mpp/testing/chain/Tempo"
 *
 * const program = Effect.gen(function*() {
 *   const chain = yield* Tempo.TempoChain
 *   const payer = "0x000000000000000000000000000000000000dEaD"
 *   yield* chain.fund(payer, 1_000_000n)
 *   return yield* chain.balance(payer)
 * })
 * await Effect.runPromise(Effect.provide(program, Tempo.layer())) // => 1000000n
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<TempoChain, ChainError> =>
  Layer.effect(TempoChain, make(options))
