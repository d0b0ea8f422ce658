/**
 * One node of one chain: what is read from it, and what is sent to it.
 *
 * A node is believed only after it has shown that it answers for the chain that it is configured for.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Hex } from "viem"
import { ChainError } from "../PaymentError.ts"
import { type Ask, malformed, type RpcFailure } from "./JsonRpc.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

const Quantity = Schema.String.check(Schema.isPattern(/^0x[0-9a-fA-F]{1,64}$/)).pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transform({
      decode: (quantity: string) => BigInt(quantity),
      encode: (value: bigint) => `0x${value.toString(16)}`
    })
  )
)

const Bytes = Schema.TemplateLiteral(["0x", Schema.String]).check(Schema.isPattern(/^0x(?:[0-9a-fA-F]{2})*$/))

const BlockFromRpc = Schema.Struct({
  number: Quantity,
  timestamp: Quantity,
  baseFeePerGas: Schema.optionalKey(Schema.NullOr(Quantity))
})

const LogFromRpc = Schema.Struct({
  transactionHash: Bytes,
  blockNumber: Quantity,
  address: Bytes,
  topics: Schema.Array(Bytes),
  data: Bytes,
  removed: Schema.optionalKey(Schema.Boolean)
})

const ReceiptFromRpc = Schema.Struct({
  transactionHash: Bytes,
  blockNumber: Quantity,
  status: Quantity,
  gasUsed: Quantity,
  effectiveGasPrice: Quantity,
  logs: Schema.Array(LogFromRpc)
})

const TransactionFromRpc = Schema.Struct({
  hash: Bytes,
  gas: Quantity,
  maxFeePerGas: Schema.optionalKey(Schema.NullOr(Quantity))
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Block {
  readonly number: bigint
  /** seconds since the epoch */
  readonly timestamp: bigint
  /** What a unit of gas costs at least, where the chain has such a price. */
  readonly baseFeePerGas?: bigint
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Log {
  readonly transactionHash: Hex
  readonly blockNumber: bigint
  readonly address: string
  readonly topics: ReadonlyArray<Hex>
  readonly data: Hex
}

/**
 * What a transaction that was mined did.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  readonly transactionHash: Hex
  readonly blockNumber: bigint
  /** False where it was reverted: it cost its fee and did nothing else. */
  readonly succeeded: boolean
  readonly gasUsed: bigint
  readonly effectiveGasPrice: bigint
  readonly logs: ReadonlyArray<Log>
}

/**
 * The limits that a transaction was signed with.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  readonly gas: bigint
  readonly maxFeePerGas: bigint | undefined
}

/**
 * One RPC of one chain. Every call checks once that the node answers for this chain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly network: string
  /**
   * A block by number or tag. A node that does not know the tag `finalized` answers with the block
   * {@link finalityDepth} below its latest.
   */
  readonly block: (block: bigint | "latest" | "finalized") => Effect.Effect<Block, ChainError>
  readonly call: (to: Hex, data: Hex, block: bigint | "latest") => Effect.Effect<Hex, ChainError>
  readonly code: (address: Hex) => Effect.Effect<Hex, ChainError>
  readonly logs: (filter: {
    readonly address: Hex
    readonly topics: ReadonlyArray<Hex | ReadonlyArray<Hex> | null>
    readonly fromBlock: bigint
    readonly toBlock: bigint
  }) => Effect.Effect<ReadonlyArray<Log>, ChainError>
  readonly receiptLogs: (transaction: Hex) => Effect.Effect<ReadonlyArray<Log>, ChainError>
  /** What a transaction did; none where it was not mined, as far as the node knows. */
  readonly receipt: (transaction: Hex) => Effect.Effect<Option.Option<Receipt>, ChainError>
  /** The limits of a transaction; none where the node does not know it. */
  readonly limits: (transaction: Hex) => Effect.Effect<Option.Option<Limits>, ChainError>
  /**
   * How much gas a transaction would take, in the form that the chain's nodes take it; none where the node cannot tell. Fails
   * if the transaction would.
   */
  readonly estimateGas: (transaction: Schema.JsonObject) => Effect.Effect<Option.Option<bigint>, ChainError>
  /**
   * Hands a signed transaction to the node; its receipt, if the node waits for that. A failure says nothing of the
   * transaction: it may have been sent before, or all the same.
   */
  readonly send: (signed: Hex) => Effect.Effect<Option.Option<Receipt>, ChainError>
}

/**
 * How many blocks below the latest one counts as final where a node does not know the tag `finalized`: 17 minutes at two
 * seconds a block, more than an optimistic rollup needs to be final on its parent in ordinary times.
 *
 * @category constants
 * @since 0.1.0
 */
export const finalityDepth = 512n

// ---------------------------------------------------------------------------------------------------------------------
// Constructors
// ---------------------------------------------------------------------------------------------------------------------

/** What nodes say to a block tag that they do not know, or to a finalized block that they do not have. */
const isUnknownTag = ({ code }: RpcFailure): boolean =>
  code !== undefined && [-32602, -32000, -32001, -39001].includes(code)

/** What nodes say to a method that they do not have, or to a request of a form that they do not know. */
const isUnknownMethod = ({ code }: RpcFailure): boolean => code === -32601 || code === -32602 || code === -32004

const blockOf = ({ baseFeePerGas, number, timestamp }: typeof BlockFromRpc.Type): Block => ({
  number,
  timestamp,
  ...(baseFeePerGas === undefined || baseFeePerGas === null ? {} : { baseFeePerGas })
})

const kept = (logs: ReadonlyArray<typeof LogFromRpc.Type>): ReadonlyArray<Log> =>
  logs.filter((log) => log.removed !== true)

const receiptOf = ({ logs, status, ...receipt }: typeof ReceiptFromRpc.Type): Receipt => ({
  ...receipt,
  succeeded: status === 1n,
  logs: kept(logs)
})

/**
 * A node that is asked in this way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  ask: Ask,
  network: string,
  chainId: bigint
): Effect.fn.Return<Node> {
  const answersFor = yield* Ref.make<bigint | undefined>(undefined)
  const checkChain = Effect.gen(function*() {
    const known = yield* Ref.get(answersFor)
    const answered = known ?? (yield* ask("eth_chainId", [], Quantity))
    if (known === undefined) yield* Ref.set(answersFor, answered)
    if (answered !== chainId) return yield* malformed(`the node answers for eip155:${answered}`)
  })

  const operation = <A>(name: string, effect: Effect.Effect<A, RpcFailure>): Effect.Effect<A, ChainError> =>
    Effect.andThen(checkChain, effect).pipe(
      Effect.mapError(({ code, detail }) =>
        new ChainError({ network, operation: name, detail, ...(code === undefined ? {} : { code }) })
      )
    )

  const blockAt = (tag: string) =>
    Effect.flatMap(
      ask("eth_getBlockByNumber", [tag, false], Schema.NullOr(BlockFromRpc)),
      (block) =>
        block === null ? Effect.fail(malformed("the node does not have the block")) : Effect.succeed(blockOf(block))
    )
  const belowLatest = Effect.flatMap(
    blockAt("latest"),
    ({ number }) => blockAt(quantity(number > finalityDepth ? number - finalityDepth : 0n))
  )
  const finalized = ask("eth_getBlockByNumber", ["finalized", false], Schema.NullOr(BlockFromRpc)).pipe(
    Effect.catchIf(isUnknownTag, () => Effect.succeed(null)),
    Effect.flatMap((block) => block === null ? belowLatest : Effect.succeed(blockOf(block)))
  )

  const sendOnly = (signed: Hex) => Effect.as(ask("eth_sendRawTransaction", [signed], Bytes), Option.none<Receipt>())
  const waits = yield* Ref.make(true)
  // To send twice does no harm, and a node that does not know the method may say anything to it.
  const sendAndWait = (signed: Hex) =>
    ask("eth_sendRawTransactionSync", [signed], ReceiptFromRpc).pipe(
      Effect.map((receipt) => Option.some(receiptOf(receipt))),
      Effect.tapError((failure) => isUnknownMethod(failure) ? Ref.set(waits, false) : Effect.void),
      Effect.catchIf(({ code }) => code !== undefined, () => sendOnly(signed))
    )

  return {
    network,
    block: (block) =>
      operation("block", block === "finalized" ? finalized : blockAt(block === "latest" ? block : quantity(block))),
    call: (to, data, block) =>
      operation("call", ask("eth_call", [{ to, data }, block === "latest" ? block : quantity(block)], Bytes)),
    code: (address) => operation("code", ask("eth_getCode", [address, "latest"], Bytes)),
    logs: ({ address, fromBlock, toBlock, topics }) =>
      operation(
        "logs",
        Effect.map(
          ask(
            "eth_getLogs",
            [{ address, topics, fromBlock: quantity(fromBlock), toBlock: quantity(toBlock) }],
            Schema.Array(LogFromRpc)
          ),
          kept
        )
      ),
    receiptLogs: (transaction) =>
      operation(
        "receipt",
        Effect.flatMap(
          ask(
            "eth_getTransactionReceipt",
            [transaction],
            Schema.NullOr(Schema.Struct({ logs: Schema.Array(LogFromRpc) }))
          ),
          (receipt) =>
            receipt === null ? Effect.fail(malformed("the node has no receipt")) : Effect.succeed(receipt.logs)
        )
      ),
    receipt: (transaction) =>
      operation(
        "receipt",
        Effect.map(
          ask("eth_getTransactionReceipt", [transaction], Schema.NullOr(ReceiptFromRpc)),
          (receipt) => Option.map(Option.fromNullishOr(receipt), receiptOf)
        )
      ),
    limits: (transaction) =>
      operation(
        "transaction",
        Effect.map(
          ask("eth_getTransactionByHash", [transaction], Schema.NullOr(TransactionFromRpc)),
          (known) =>
            Option.map(Option.fromNullishOr(known), ({ gas, maxFeePerGas }): Limits => ({
              gas,
              maxFeePerGas: maxFeePerGas ?? undefined
            }))
        )
      ),
    estimateGas: (transaction) =>
      operation(
        "estimate gas",
        ask("eth_estimateGas", [transaction], Quantity).pipe(
          Effect.map(Option.some),
          Effect.catchIf(isUnknownMethod, () => Effect.succeedNone)
        )
      ),
    send: (signed) =>
      operation(
        "send",
        Effect.flatMap(Ref.get(waits), (does) => does ? sendAndWait(signed) : sendOnly(signed))
      )
  }
})

const quantity = (value: bigint): Hex => `0x${value.toString(16)}`
