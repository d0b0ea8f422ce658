/**
 * JSON-RPC of the chains that are configured, over the transport: reads and broadcast.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Hex } from "viem"
import type { ChainError } from "./PaymentError.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Block {
  readonly number: bigint
  /** seconds since the epoch */
  readonly timestamp: bigint
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
 * One RPC of one chain. Every call checks once that the node answers for this chain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly network: string
  readonly block: (tag: "latest" | "finalized") => Effect.Effect<Block, ChainError>
  readonly call: (to: Hex, data: Hex, block: bigint | "latest") => Effect.Effect<Hex, ChainError>
  readonly code: (address: Hex) => Effect.Effect<Hex, ChainError>
  readonly logs: (filter: {
    readonly address: Hex
    readonly topics: ReadonlyArray<Hex | ReadonlyArray<Hex> | null>
    readonly fromBlock: bigint
    readonly toBlock: bigint
  }) => Effect.Effect<ReadonlyArray<Log>, ChainError>
  readonly receiptLogs: (transaction: Hex) => Effect.Effect<ReadonlyArray<Log>, ChainError>
}

/**
 * The nodes that may be asked. A release needs all nodes of a chain to agree.
 *
 * @category services
 * @since 0.1.0
 */
export class Chain extends Context.Service<Chain, {
  /** The nodes of a network; empty where none is configured. */
  readonly nodes: (network: string) => ReadonlyArray<Node>
  readonly networks: ReadonlyArray<string>
}>()("effect-mpp/Chain") {}
