import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Chain from "../../src/Chain.ts"
import { ChainError } from "../../src/PaymentError.ts"
import type { Evidence, Verdict } from "../../src/Rails.ts"
import * as Eip3009 from "../../src/rails/Eip3009.ts"
import * as exact from "./exact.ts"
import { nodeWith } from "./node.ts"

const used = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
const canceled = "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81"
const transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
const nonce = `0x${"5a".repeat(32)}` as const
const hash = `0x${"ab".repeat(32)}` as const
const word = (address: string) => `0x${address.slice(2).toLowerCase().padStart(64, "0")}` as const
const bool = (value: boolean) => `0x${"0".repeat(63)}${value ? 1 : 0}` as const

/** Blocks come every two seconds; the authorisation is planned at the stamp of block 1000, and ends at that of 1030. */
const stampOf = (number: bigint) => 1_700_000_000n + 2n * number
const signed: Eip3009.Signed = {
  token: exact.token,
  plannedAt: Number(stampOf(1000n)),
  authorization: {
    from: exact.payer,
    to: exact.payee,
    value: "10000",
    validAfter: "0",
    validBefore: stampOf(1030n).toString(),
    nonce
  }
}

interface Script {
  readonly latest?: bigint
  readonly final?: bigint
  /** The block in which the nonce was used. */
  readonly usedAt?: bigint
  readonly by?: typeof used | typeof canceled
  readonly forgetsStates?: boolean
  readonly refusesLogs?: boolean
  readonly refusesReceipts?: boolean
  readonly paid?: { readonly to?: string; readonly value?: bigint; readonly token?: string }
  readonly failing?: boolean
}

const fail = (operation: string) =>
  Effect.fail(new ChainError({ network: exact.network, operation, detail: "the node did not answer" }))

const nodeOf = (script: Script, seen: Array<readonly [bigint, bigint]> = []): Chain.Node => {
  const { by = used, final = 1040n, latest = 1100n, paid = {}, usedAt } = script
  const log = (topics: ReadonlyArray<string>, data: string, address: string = exact.token) => ({
    transactionHash: hash,
    blockNumber: usedAt ?? 0n,
    address: address.toLowerCase(),
    topics: topics as ReadonlyArray<`0x${string}`>,
    data: data as `0x${string}`
  })
  return nodeWith({
    network: exact.network,
    block: (tag) => {
      if (script.failing === true) return fail("block")
      const number = tag === "latest" ? latest : tag === "finalized" ? final : tag
      return Effect.succeed({ number, timestamp: stampOf(number) })
    },
    call: (to, data, block) => {
      assert.strictEqual(to, exact.token)
      assert.strictEqual(data, `0xe94a0102${word(exact.payer).slice(2)}${nonce.slice(2)}`)
      const number = block === "latest" ? latest : block
      if (script.forgetsStates === true && number < latest) return fail("call")
      return Effect.succeed(bool(usedAt !== undefined && usedAt <= number))
    },
    code: () => Effect.succeed("0x"),
    logs: ({ fromBlock, toBlock, topics }) => {
      seen.push([fromBlock, toBlock])
      assert.deepStrictEqual(topics, [[used, canceled], word(exact.payer), nonce])
      if (script.refusesLogs === true) return fail("logs")
      const noise = log([used, word(exact.payer), `0x${"00".repeat(32)}`], "0x")
      return Effect.succeed(
        usedAt !== undefined && usedAt >= fromBlock && usedAt <= toBlock
          ? [noise, log([by, word(exact.payer), nonce], "0x")]
          : [noise]
      )
    },
    receiptLogs: (transaction) => {
      assert.strictEqual(transaction, hash)
      if (script.refusesReceipts === true) return fail("receipt")
      const value = `0x${(paid.value ?? 10_000n).toString(16).padStart(64, "0")}`
      return Effect.succeed([
        log([used, word(exact.payer), nonce], "0x"),
        log([transfer, word(exact.payer), word(paid.to ?? exact.payee)], value, paid.token)
      ])
    }
  })
}

const reconcile = (...scripts: ReadonlyArray<Script>) =>
  Eip3009.reconcile(scripts.map((script) => nodeOf(script)), signed)

const shown = (verdict: Verdict) => {
  const { mismatch, rank, what }: Evidence = verdict.evidence
  return `${verdict._tag} (${rank}: ${what}${mismatch === true ? ", mismatch" : ""})`
}

const says = (expected: string, ...scripts: ReadonlyArray<Script>) =>
  Effect.map(reconcile(...scripts), (verdict) => assert.strictEqual(shown(verdict), expected))

describe("Eip3009", () => {
  it.effect("is void once a finalized block is past its validity and the nonce is unused in it", () =>
    says("Void (proven: authorization expired unused)", {}))

  it.effect("is not void one second earlier, nor because the latest block is past its validity", () =>
    Effect.gen(function*() {
      yield* says("Unknown (observed: authorization unused so far)", { final: 1029n })
      yield* says("Void (proven: authorization expired unused)", { final: 1030n })
    }))

  it.effect("is void if it was only cancelled after a finalized block had outlived it", () =>
    says("Void (proven: authorization expired unused)", { usedAt: 1050n, by: canceled }))

  it.effect("is settled by whoever used it, with the transaction, and proven by a finalized block", () =>
    Effect.gen(function*() {
      const verdict = yield* reconcile({ usedAt: 1010n })
      assert.strictEqual(shown(verdict), "Settled (proven: authorization used)")
      assert.strictEqual(verdict._tag === "Settled" && verdict.units, 10_000n)
      assert.strictEqual(verdict.evidence.reference, hash)
      yield* says("Settled (observed: authorization used)", { usedAt: 1010n, final: 1009n })
      yield* says("Settled (observed: authorization used)", { usedAt: 1010n, final: 900n, latest: 1010n })
    }))

  it.effect("is settled although the chain stood still and caught up with old stamps", () =>
    says("Settled (proven: authorization used)", { usedAt: 1029n, final: 5000n, latest: 5000n }))

  it.effect("is flagged if its transaction did not transfer what was signed", () =>
    Effect.gen(function*() {
      for (const paid of [{ to: exact.payer }, { value: 9_999n }, { token: exact.payee }]) {
        yield* says("Settled (proven: authorization used, mismatch)", { usedAt: 1010n, paid })
      }
    }))

  it.effect("is void if it was cancelled for good, and unknown while the cancellation can be undone", () =>
    Effect.gen(function*() {
      yield* says("Void (proven: authorization canceled)", { usedAt: 1010n, by: canceled })
      yield* says("Unknown (observed: authorization canceled)", { usedAt: 1010n, by: canceled, final: 1009n })
    }))

  it.effect("counts as spent if the nonce is used and no log can be had", () =>
    Effect.gen(function*() {
      yield* says("Settled (observed: state)", { usedAt: 1010n, refusesLogs: true })
      yield* says("Settled (observed: state)", { usedAt: 100n })
      yield* says("Settled (observed: authorization used)", { usedAt: 1010n, refusesReceipts: true })
    }))

  it.effect("is proven void by the latest state where the node has forgotten the finalized one", () =>
    Effect.gen(function*() {
      yield* says("Void (proven: authorization expired unused)", { forgetsStates: true })
      yield* says("Settled (proven: authorization used)", { forgetsStates: true, usedAt: 1010n })
    }))

  it.effect("nothing is known without a node", () => says("Unknown (presumed: no rpc)"))

  describe("several nodes", () => {
    it.effect("must agree that it is void", () =>
      Effect.gen(function*() {
        yield* says("Void (proven: authorization expired unused)", {}, {})
        yield* says("Unknown (presumed: the nodes disagree)", {}, { usedAt: 1010n })
        yield* says("Unknown (presumed: the nodes disagree)", {}, { final: 1000n })
        assert.strictEqual((yield* Effect.flip(reconcile({}, { failing: true })))._tag, "ChainError")
      }))

    it.effect("one is enough for money that moved, at the weakest rank of those that answer", () =>
      Effect.gen(function*() {
        yield* says("Settled (proven: authorization used)", { usedAt: 1010n }, { failing: true })
        yield* says("Settled (observed: authorization used)", { usedAt: 1010n }, { usedAt: 1010n, final: 1000n })
      }))

    it.effect("fail if none answers", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(reconcile({ failing: true }, { failing: true })))._tag, "ChainError")
      }))
  })

  it.effect("logs are looked for where a transfer can be, in pieces, and a cancellation not without end", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [bigint, bigint]> = []
      const nodes = [nodeOf({ usedAt: 1n, final: 1_000_000n, latest: 1_000_000n }, seen)]
      yield* Eip3009.reconcile(nodes, signed)
      assert.deepStrictEqual(seen[0], [940n, 1939n])
      assert.strictEqual(seen.length, 16)
      assert.isTrue(seen.every(([from, to]) => to - from < 1000n))
    }))

  it.effect("logs are not looked for without end where a node shows old stamps and a huge latest block", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [bigint, bigint]> = []
      const honest = nodeOf({ usedAt: 1n }, seen)
      const reads: Array<bigint> = []
      const node: Chain.Node = {
        ...honest,
        block: (tag) => {
          const number = typeof tag === "bigint" ? tag : 2n ** 200n
          reads.push(number)
          return Effect.succeed({
            number,
            timestamp: number < 10n ? 0n : BigInt(signed.authorization.validBefore) - 1n
          })
        },
        logs: (filter) => {
          assert.isBelow(seen.length, 1_000)
          return honest.logs(filter)
        }
      }
      const verdict = yield* Eip3009.reconcile([node], signed)
      assert.strictEqual(shown(verdict), "Settled (observed: state)")
      assert.isAtMost(seen.length, 64)
      assert.isBelow(reads.length, 1_000)
    }))

  it.effect("a token that does not know EIP-3009 is an error, not a proof", () =>
    Effect.gen(function*() {
      for (const answer of ["0x", "0x01", `0x${"f".repeat(64)}`] as const) {
        const node: Chain.Node = { ...nodeOf({}), call: () => Effect.succeed(answer) }
        assert.strictEqual((yield* Effect.flip(Eip3009.reconcile([node], signed)))._tag, "ChainError")
      }
    }))
})
