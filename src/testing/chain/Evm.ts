/**
 * A local EVM chain with a dollar on it that takes signed authorisations: a real node, a real token, no network.
 *
 * It needs the npm packages `@foundry-rs/anvil` and `solc`, and Node. The node listens on loopback alone and ends with the
 * layer's scope, or with the process.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import type { Address, Hex } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { decodeEventLog, decodeFunctionResult, encodeEventTopics, encodeFunctionData } from "viem/utils"
import { Asset } from "../../Asset.ts"
import { ChainError } from "../../PaymentError.ts"
import { type Account, accounts, minter } from "./Accounts.ts"
import * as Anvil from "./Anvil.ts"
import { compile } from "./Solidity.ts"
import * as TestToken from "./TestToken.ts"

export type { Account } from "./Accounts.ts"

/**
 * A transfer of the token. Minting is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transfer {
  readonly from: Address
  readonly to: Address
  readonly units: bigint
  readonly transaction: Hex
  readonly blockNumber: bigint
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Partial<Anvil.Options> {
  /**
   * The token. By default it stands in for the USDC of Base Sepolia, at its address and under its domain, which official
   * clients accept on chain 84532.
   */
  readonly token?: {
    readonly address?: Address | undefined
    readonly symbol?: string | undefined
    readonly decimals?: number | undefined
    /** The EIP-712 domain. */
    readonly name?: string | undefined
    readonly version?: string | undefined
  } | undefined
}

/**
 * @category services
 * @since 0.1.0
 */
export class EvmChain extends Context.Service<EvmChain, {
  /** On loopback. */
  readonly rpcUrl: string
  readonly chainId: number
  /** CAIP-2. */
  readonly network: string
  readonly asset: Asset
  /** Ten of them. The first settles for a local facilitator, the last mints. */
  readonly accounts: ReadonlyArray<Account>
  /** Gives an account base units of the token. Makes a block, whatever the mode of mining. */
  readonly mint: (to: Address, units: bigint) => Effect.Effect<void, ChainError>
  /** Base units of the token. */
  readonly balance: (account: Address) => Effect.Effect<bigint, ChainError>
  /** Every transfer of the token so far, oldest first. */
  readonly transfers: Effect.Effect<ReadonlyArray<Transfer>, ChainError>
  /** Whether an authorisation was used or cancelled. */
  readonly authorizationState: (authorizer: Address, nonce: Hex) => Effect.Effect<boolean, ChainError>
  /** Makes an authorisation void. Makes a block, whatever the mode of mining. */
  readonly cancelAuthorization: (authorizer: Account, nonce: Hex) => Effect.Effect<void, ChainError>
  /**
   * Makes blocks (default one). A block is final when 64 more have followed it; with the argument `--slots-in-an-epoch 1`,
   * when two have.
   */
  readonly mine: (blocks?: number) => Effect.Effect<void, ChainError>
  /** Seconds since the epoch: the stamp of the next block; time goes on from there. */
  readonly setNextTimestamp: (seconds: bigint) => Effect.Effect<void, ChainError>
  /** The stamp that a block made now would have, in seconds since the epoch. */
  readonly now: Effect.Effect<bigint, ChainError>
  readonly blockNumber: Effect.Effect<bigint, ChainError>
  /** One JSON-RPC call; the answer's `result`, as it came. */
  readonly rpc: Anvil.Anvil["rpc"]
}>()("effect-mpp/testing/chain/Evm/EvmChain") {}

const RpcLog = Schema.Struct({
  topics: Schema.Array(Anvil.HexText),
  data: Anvil.HexText,
  blockNumber: Anvil.HexText,
  transactionHash: Anvil.HexText
})
const RpcBlock = Schema.Struct({ timestamp: Anvil.HexText })
const RpcReceipt = Schema.Struct({ status: Anvil.HexText })

const make = Effect.fnUntraced(function*(options: Options) {
  const node = yield* Anvil.start({ ...options, chainId: options.chainId ?? 31337 })
  const { name = "USDC", version = "2", symbol = "USDC", decimals = 6, address = baseSepoliaUsdc } = options.token ?? {}

  const mine: EvmChain["Service"]["mine"] = (blocks = 1) => Effect.asVoid(node.rpc("anvil_mine", [quantity(blocks)]))

  /** The node counts the minter's transactions, one at a time. */
  const sending = yield* Semaphore.make(1)

  // Mined by hand, so that it needs no clock and works in every mode of mining.
  const send = Effect.fnUntraced(function*(operation: string, data: Hex) {
    const hash = yield* Anvil.read(node, Anvil.HexText, "eth_sendTransaction", [{
      from: minter.address,
      to: address,
      data
    }])
    yield* mine()
    const { status } = yield* Anvil.read(node, RpcReceipt, "eth_getTransactionReceipt", [hash])
    if (BigInt(status) !== 1n) {
      return yield* new ChainError({ network: node.network, operation, detail: "the transaction was reverted" })
    }
  }, sending.withPermit)
  const call = (data: Hex) => Anvil.read(node, Anvil.HexText, "eth_call", [{ to: address, data }, "latest"])

  const codes = yield* compile(TestToken.source)
  yield* node.rpc("anvil_setCode", [address, codes["TestToken"]])
  yield* node.rpc("anvil_setCode", [TestToken.multicallAddress, codes["Multicall3"]])
  yield* send(
    "configure",
    encodeFunctionData({ abi: TestToken.abi, functionName: "configure", args: [name, version, symbol, decimals] })
  )

  const [transferTopic] = encodeEventTopics({ abi: TestToken.abi, eventName: "Transfer" })

  return EvmChain.of({
    rpcUrl: node.rpcUrl,
    chainId: node.chainId,
    network: node.network,
    asset: new Asset({
      network: node.network,
      address: address.toLowerCase(),
      symbol,
      decimals,
      usd: true,
      testnet: true,
      domain: { name, version }
    }),
    accounts,
    mint: (to, units) =>
      send("mint", encodeFunctionData({ abi: TestToken.abi, functionName: "mint", args: [to, units] })),
    balance: (account) =>
      Effect.map(
        call(encodeFunctionData({ abi: TestToken.abi, functionName: "balanceOf", args: [account] })),
        (data) => decodeFunctionResult({ abi: TestToken.abi, functionName: "balanceOf", data })
      ),
    transfers: Effect.map(
      Anvil.read(node, Schema.Array(RpcLog), "eth_getLogs", [{
        address,
        topics: [transferTopic],
        fromBlock: "earliest",
        toBlock: "latest"
      }]),
      (logs) => logs.flatMap(transferOf)
    ),
    authorizationState: (authorizer, nonce) =>
      Effect.map(
        call(encodeFunctionData({
          abi: TestToken.abi,
          functionName: "authorizationState",
          args: [authorizer, nonce]
        })),
        (data) => decodeFunctionResult({ abi: TestToken.abi, functionName: "authorizationState", data })
      ),
    cancelAuthorization: Effect.fn("EvmChain.cancelAuthorization")(function*(authorizer, nonce) {
      const signature = yield* Effect.promise(() =>
        privateKeyToAccount(Redacted.value(authorizer.privateKey)).signTypedData({
          domain: { name, version, chainId: node.chainId, verifyingContract: address },
          types: {
            CancelAuthorization: [{ name: "authorizer", type: "address" }, { name: "nonce", type: "bytes32" }]
          },
          primaryType: "CancelAuthorization",
          message: { authorizer: authorizer.address, nonce }
        })
      )
      yield* send(
        "cancelAuthorization",
        encodeFunctionData({
          abi: TestToken.abi,
          functionName: "cancelAuthorization",
          args: [authorizer.address, nonce, signature]
        })
      )
    }),
    mine,
    setNextTimestamp: (seconds) => Effect.asVoid(node.rpc("evm_setNextBlockTimestamp", [quantity(seconds)])),
    now: Effect.map(
      Anvil.read(node, RpcBlock, "eth_getBlockByNumber", ["pending", false]),
      ({ timestamp }) => BigInt(timestamp)
    ),
    blockNumber: Effect.map(Anvil.read(node, Anvil.HexText, "eth_blockNumber"), BigInt),
    rpc: node.rpc
  })
})

const baseSepoliaUsdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"

const quantity = (value: number | bigint): Hex => `0x${value.toString(16)}`

const transferOf = ({ blockNumber, data, topics, transactionHash }: typeof RpcLog.Type): ReadonlyArray<Transfer> => {
  const [signature, ...indexed] = topics
  if (signature === undefined) return []
  const { args } = decodeEventLog({
    abi: TestToken.abi,
    eventName: "Transfer",
    topics: [signature, ...indexed],
    data
  })
  return BigInt(args.from) === 0n
    ? []
    : [{
      from: args.from,
      to: args.to,
      units: args.value,
      transaction: transactionHash,
      blockNumber: BigInt(blockNumber)
    }]
}

/**
 * A chain of its own, of chain id 31337 unless another is asked for.
 *
 * **Example** (Money on a local chain)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Evm from "effect-mpp/testing/chain/Evm"
 *
 * const program = Effect.gen(function*() {
 *   const chain = yield* Evm.EvmChain
 *   const payer = chain.accounts[1]!
 *   yield* chain.mint(payer.address, 1_000_000n)
 *   return yield* chain.balance(payer.address)
 * })
 * await Effect.runPromise(Effect.provide(program, Evm.layer())) // => 1000000n
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<EvmChain, ChainError> => Layer.effect(EvmChain, make(options))
