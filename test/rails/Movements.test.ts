import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Hex, pad } from "viem"
import type * as Chain from "../../src/Chain.ts"
import type { Since } from "../../src/Movement.ts"
import { ChainError } from "../../src/PaymentError.ts"
import * as Movements from "../../src/rails/Movements.ts"
import { nodeWith } from "./node.ts"

const network = "eip155:1"
const token: Hex = "0x00000000000000000000000000000000000000AA"
const topics = [`0x${"01".repeat(32)}`, pad("0xbb", { size: 32 })] as const

const log = (block: bigint, change: Partial<Chain.Log> = {}): Chain.Log => ({
  transactionHash: `0x${block.toString(16).padStart(64, "0")}`,
  blockNumber: block,
  address: token.toLowerCase(),
  topics: [...topics, pad("0x1", { size: 32 })],
  data: "0x",
  ...change
})

/** A node with these logs, which counts what it is asked for. */
const nodeOf = (logs: ReadonlyArray<Chain.Log>, options: {
  readonly final: bigint
  readonly latest: bigint
  /** The most blocks that it answers for at once. */
  readonly most?: bigint
}) => {
  const pages: Array<string> = []
  const node = nodeWith({
    network,
    block: (block) =>
      Effect.succeed({ number: block === "finalized" ? options.final : options.latest, timestamp: 1_000n }),
    logs: ({ fromBlock, toBlock }) => {
      pages.push(`${fromBlock}-${toBlock}`)
      return toBlock - fromBlock >= (options.most ?? 1_000n)
        ? Effect.fail(new ChainError({ network, operation: "logs", detail: "too much" }))
        : Effect.succeed(logs)
    }
  })
  return { node, pages }
}

const look = (nodes: ReadonlyArray<Chain.Node>, since: Since | undefined) =>
  Effect.map(
    Movements.look(nodes, { token, topics, count: 3, since }),
    ({ isComplete, logs, until }) => ({
      isComplete,
      until,
      blocks: logs.map(({ isFinal, log: { blockNumber } }) => isFinal ? blockNumber : `${blockNumber} not final`)
    })
  )

describe("Movements", () => {
  it.effect("begins at the latest block, and looks for nothing before", () =>
    Effect.gen(function*() {
      const { node, pages } = nodeOf([log(5n)], { final: 90n, latest: 100n })
      assert.deepStrictEqual(yield* look([node], undefined), { isComplete: true, until: 100n, blocks: [] })
      assert.deepStrictEqual(yield* look([node], 100n), { isComplete: true, until: 100n, blocks: [] })
      assert.deepStrictEqual(pages, [])
    }))

  it.effect("looks from block to block in pages, once at each, and at what is not final too", () =>
    Effect.gen(function*() {
      const logs = [log(10n), log(11n), log(1_010n), log(1_011n), log(2_400n), log(2_401n), log(2_500n)]
      const { node, pages } = nodeOf(logs, { final: 2_400n, latest: 2_450n })
      assert.deepStrictEqual(yield* look([node], 10n), {
        isComplete: true,
        until: 2_400n,
        blocks: [11n, 1_010n, 1_011n, 2_400n, "2401 not final"]
      })
      assert.deepStrictEqual(pages, ["11-1010", "1011-2010", "2011-2450"])
    }))

  it.effect("asks for less at once where a node does not answer for as much", () =>
    Effect.gen(function*() {
      const { node, pages } = nodeOf([log(15n)], { final: 30n, latest: 30n, most: 100n })
      assert.deepStrictEqual(yield* look([node], 10n), { isComplete: true, until: 30n, blocks: [15n] })
      const strict = nodeOf([log(15n)], { final: 200n, latest: 200n, most: 10n })
      assert.deepStrictEqual((yield* look([strict.node], 10n)).blocks, [15n])
      assert.strictEqual(pages.length, 1)
      const mute = nodeOf([], { final: 200n, latest: 200n, most: 0n })
      assert.strictEqual((yield* Effect.flip(look([mute.node], 10n))).operation, "logs")
    }))

  it.effect("ends after so many blocks or payments, and goes on from there", () =>
    Effect.gen(function*() {
      const { node } = nodeOf([], { final: 1_000_000n, latest: 1_000_000n })
      const { isComplete, until } = yield* look([node], 0n)
      assert.isFalse(isComplete)
      assert.isTrue(until >= 5_000n && until < 20_000n)
      const many = Array.from({ length: 1_500 }, (_, at) => log(BigInt(at + 1)))
      const busy = nodeOf(many, { final: 1_000_000n, latest: 1_000_000n })
      const first = yield* look([busy.node], 0n)
      assert.isFalse(first.isComplete)
      assert.strictEqual(first.blocks.length, Number(first.until))
      assert.isTrue(first.blocks.length > 0 && first.blocks.length < 128)
      const crowded = nodeOf(Array.from({ length: 90 }, () => log(1n)), { final: 1n, latest: 1n })
      assert.deepInclude(yield* look([crowded.node], 0n), { isComplete: true, until: 1n })
    }))

  it.effect("takes nothing that was not asked for", () =>
    Effect.gen(function*() {
      const { node } = nodeOf([
        log(9n),
        log(201n),
        log(20n, { address: "0xcc" }),
        log(21n, { topics: [topics[0], pad("0xcc", { size: 32 }), topics[1]] }),
        log(22n, { topics }),
        log(23n, { topics: [...topics, topics[0], topics[0]] }),
        log(24n, { topics: [] }),
        log(26n, { transactionHash: "0xab" }),
        log(27n, { topics: [...topics, "0x01"] }),
        log(25n)
      ], { final: 200n, latest: 200n })
      assert.deepStrictEqual((yield* look([node], 10n)).blocks, [25n])
    }))

  it.effect("never goes beyond the latest block, whatever a node says is final, and not back for what it has forgotten of that", () =>
    Effect.gen(function*() {
      const forgetful = nodeOf([], { final: 3n, latest: 50n })
      assert.deepStrictEqual(yield* look([forgetful.node], 10n), { isComplete: true, until: 10n, blocks: [] })
      const ahead = nodeOf([], { final: 1n << 255n, latest: 50n })
      assert.strictEqual((yield* look([ahead.node], 10n)).until, 50n)
    }))

  it.effect("has not seen all of a chain of which the node shows less than was seen before", () =>
    Effect.gen(function*() {
      const behind = nodeOf([log(5n)], { final: 3n, latest: 4n })
      assert.deepStrictEqual(yield* look([behind.node], 10n), { isComplete: false, until: 4n, blocks: [] })
      const ahead = nodeOf([log(15n)], { final: 20n, latest: 20n })
      assert.deepInclude(yield* look([ahead.node, behind.node], 10n), { isComplete: false, until: 4n })
    }))

  it.effect("has seen enough with all that is final, however long the chain is beyond that", () =>
    Effect.gen(function*() {
      const { node } = nodeOf([], { final: 100n, latest: 1_000_000n })
      assert.deepInclude(yield* look([node], 10n), { isComplete: true, until: 100n })
    }))

  it.effect("begins at a time, and not with a node that has nothing of that time yet", () =>
    Effect.gen(function*() {
      const stamped = (latest: bigint) => {
        const { node } = nodeOf([log(49n), log(50n), log(51n)], { final: latest, latest })
        return {
          ...node,
          block: (block: bigint | "latest" | "finalized") => {
            const number = typeof block === "bigint" ? block : latest
            return Effect.succeed({ number, timestamp: number * 2n })
          }
        }
      }
      assert.deepStrictEqual(yield* look([stamped(90n)], { at: 100_000 }), {
        isComplete: true,
        until: 90n,
        blocks: [50n, 51n]
      })
      assert.deepInclude(yield* look([stamped(90n)], { at: -5 }), { until: 90n })
      assert.include((yield* Effect.flip(look([stamped(49n)], { at: 100_000 }))).detail, "older")
    }))

  it.effect("sees what any of several nodes shows, as far as all of them know", () =>
    Effect.gen(function*() {
      const [one, other] = [
        nodeOf([log(20n)], { final: 40n, latest: 50n }),
        nodeOf([log(30n)], { final: 35n, latest: 50n })
      ]
      assert.deepStrictEqual(yield* look([one.node, other.node], 10n), {
        isComplete: true,
        until: 35n,
        blocks: [20n, 30n]
      })
      const mute = nodeOf([], { final: 200n, latest: 200n, most: 0n })
      assert.strictEqual((yield* Effect.flip(look([one.node, mute.node], 10n)))._tag, "ChainError")
    }))
})
