import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { createClient, type Hex, http } from "viem"
import { generatePrivateKey } from "viem/accounts"
import { sendTransactionSync } from "viem/actions"
import { tempoLocalnet } from "viem/chains"
import { Abis, Account, Actions } from "viem/tempo"
import { encodeFunctionData, keccak256 } from "viem/utils"
import * as Tempo from "../../../src/testing/chain/Tempo.ts"
import { clientOf, local, stranger } from "./tempoClient.ts"

const token = "0x20c0000000000000000000000000000000000000"

const transfer = (to: Hex, amount: bigint, memo?: Hex) => ({
  to: token as Hex,
  data: memo === undefined
    ? encodeFunctionData({ abi: Abis.tip20, functionName: "transfer", args: [to, amount] })
    : encodeFunctionData({ abi: Abis.tip20, functionName: "transferWithMemo", args: [to, amount, memo] })
})

/** Waits until the chain has made so many blocks by itself. Its clock is the computer's, not the test's. */
const idle = Effect.fnUntraced(function*(blocks: bigint) {
  const chain = yield* Tempo.TempoChain
  const end = (yield* chain.blockNumber) + blocks
  yield* TestClock.withLive(
    Effect.repeat(chain.blockNumber, { until: (number) => number >= end, schedule: Schedule.spaced("200 millis") })
  )
})

layer(Tempo.layer())("a local Tempo chain", (it) => {
  it.effect("answers for its chain id, on loopback", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      assert.strictEqual(yield* chain.rpc("eth_chainId"), "0x539")
      assert.match(chain.rpcUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
      assert.notStrictEqual(chain.rpcUrl, chain.nodeUrl)
      assert.strictEqual(chain.network, "eip155:1337")
      assert.deepStrictEqual(chain.assets.map(({ address, network, symbol }) => ({ address, network, symbol })), [
        { address: token, network: "eip155:1337", symbol: "pathUSD" },
        { address: "0x20c0000000000000000000000000000000000001", network: "eip155:1337", symbol: "AlphaUSD" }
      ])
    }))

  it.effect("funds accounts, several at a time, and counts no funding as a transfer", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { address } = stranger()
      const alphaUsd = chain.alphaUsd.address
      yield* Effect.all([chain.fund(address, 5n), chain.fund(address, 7n), chain.fund(address, 3n, alphaUsd)], {
        concurrency: "unbounded"
      })
      assert.strictEqual(yield* chain.balance(address), 12n)
      assert.strictEqual(yield* chain.balance(address, alphaUsd), 3n)
      assert.deepStrictEqual((yield* chain.transfers()).filter(({ to }) => to === address), [])
    }))

  it.effect("gives no more than there is", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { address } = stranger()
      const error = yield* Effect.flip(chain.fund(address, 2n ** 100n))
      assert.strictEqual(error._tag, "ChainError")
      assert.strictEqual(yield* chain.balance(address), 0n)
    }))

  it.effect("has a faucet whose transactions can be waited for", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const account = stranger()
      const receipts = yield* Effect.promise(() => Actions.faucet.fundSync(clientOf(chain, account), { account }))
      assert.strictEqual(receipts.length, 4)
      assert.strictEqual(yield* chain.balance(account.address), 1_000_000_000_000n)
      assert.strictEqual(yield* chain.balance(account.address, chain.alphaUsd.address), 1_000_000_000_000n)
      const error = yield* Effect.flip(chain.rpc("tempo_fundAddress", ["0x12"]))
      assert.strictEqual(error.detail, "Expected an address")
    }))

  it.effect("moves money with a memo, and lists what moved, oldest first and without fees", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      const payee = stranger().address
      const memo = keccak256("0x01")
      yield* chain.fund(payer.address, 1_000_000n)
      const client = clientOf(chain, payer)
      const first = yield* Effect.promise(() =>
        sendTransactionSync(client, { calls: [transfer(payee, 250n, memo), transfer(payee, 5n)] })
      )
      const second = yield* Effect.promise(() => sendTransactionSync(client, { calls: [transfer(payee, 9n)] }))
      assert.strictEqual(first.type, "0x76")
      assert.strictEqual(yield* chain.balance(payee), 264n)
      assert.isBelow(Number(yield* chain.balance(payer.address)), 1_000_000 - 264)
      const common = {
        from: payer.address,
        to: payee,
        transaction: first.transactionHash,
        blockNumber: first.blockNumber
      }
      assert.deepStrictEqual((yield* chain.transfers()).filter(({ to }) => to === payee), [
        { ...common, units: 250n, memo },
        { ...common, units: 5n },
        { ...common, units: 9n, transaction: second.transactionHash, blockNumber: second.blockNumber }
      ])
    }))

  it.effect("lets another account pay the fee", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      const payee = stranger().address
      const sponsor = stranger()
      yield* chain.fund(payer.address, 250n)
      yield* chain.fund(sponsor.address, 1_000_000n)
      yield* Effect.promise(() =>
        sendTransactionSync(clientOf(chain, payer), { calls: [transfer(payee, 250n)], feePayer: sponsor })
      )
      assert.strictEqual(yield* chain.balance(payer.address), 0n)
      assert.strictEqual(yield* chain.balance(payee), 250n)
      assert.isBelow(Number(yield* chain.balance(sponsor.address)), 1_000_000)
    }))

  it.effect("takes the plain transaction of an account that has dollars only", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      const payee = stranger().address
      yield* chain.fund(payer.address, 1_000_000n)
      const client = createClient({
        account: payer,
        chain: { ...tempoLocalnet, id: 1337 },
        transport: http(chain.rpcUrl)
      })
      const { status, type } = yield* Effect.promise(() => sendTransactionSync(client, transfer(payee, 250n)))
      assert.deepStrictEqual({ status, type }, { status: "success", type: "eip1559" })
      assert.strictEqual(yield* chain.balance(payee), 250n)
    }))

  it.effect("takes an expiring nonce after a time without transactions", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      const payee = stranger().address
      yield* chain.fund(payer.address, 1_000_000n)
      yield* idle(10n)
      const receipts = yield* Effect.promise(() =>
        Promise.all([1n, 2n, 3n].map((units) =>
          sendTransactionSync(clientOf(chain, payer), { calls: [transfer(payee, units)], nonceKey: "expiring" })
        ))
      )
      assert.deepStrictEqual(
        receipts.map(({ status }) =>
          status
        ),
        ["success", "success", "success"]
      )
      assert.strictEqual(yield* chain.balance(payee), 6n)
    }))

  it.effect("prices the calls of a transaction, so that five new accounts can be paid in one", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      const payees = Array.from({ length: 5 }, () => stranger().address)
      yield* chain.fund(payer.address, 1_000_000n)
      const calls = payees.map((payee) => transfer(payee, 7n))
      const { gasUsed, status } = yield* Effect.promise(() => sendTransactionSync(clientOf(chain, payer), { calls }))
      assert.strictEqual(status, "success")
      const estimated = yield* chain.rpc("eth_estimateGas", [{ from: payer.address, calls }])
      assert.isAbove(Number(estimated), Number(gasUsed))
      const balances = yield* Effect.forEach(payees, (payee) => chain.balance(payee))
      assert.deepStrictEqual(balances, [7n, 7n, 7n, 7n, 7n])
    }))

  it.effect("prices the key of a transaction, so that an access key can be authorised and pay", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const root = Account.fromSecp256k1(generatePrivateKey())
      const payee = stranger().address
      yield* chain.fund(root.address, 1_000_000n)
      const accessKey = Account.fromP256(generatePrivateKey(), { access: root })
      const { receipt } = yield* Effect.promise(() =>
        Actions.accessKey.authorizeSync(clientOf(chain, root), { accessKey, expiry: 4_000_000_000 })
      )
      assert.strictEqual(receipt.status, "success")
      const { status } = yield* Effect.promise(() =>
        sendTransactionSync(clientOf(chain, accessKey), { calls: [transfer(payee, 7n)] })
      )
      assert.strictEqual(status, "success")
      const [{ from, units }] = (yield* chain.transfers()).filter(({ to }) => to === payee) as [Tempo.Transfer]
      assert.deepStrictEqual({ from, units }, { from: root.address, units: 7n })
    }))

  it.effect("prices no transaction that would be reverted", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      yield* chain.fund(payer.address, 1000n)
      const calls = [transfer(stranger().address, 600n), transfer(stranger().address, 600n)]
      const error = yield* Effect.flip(chain.rpc("eth_estimateGas", [{ from: payer.address, calls }]))
      assert.strictEqual(error.detail, "execution reverted")
    }))

  it.effect("calls a block final when two more have followed it", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const height = yield* chain.blockNumber
      yield* chain.mine(2)
      const { number } = (yield* chain.rpc("eth_getBlockByNumber", ["finalized", false])) as { readonly number: Hex }
      assert.isAtLeast(Number(number), Number(height))
    }))

  it.effect("lets what it does not know go to the node, one by one and together", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const post = (body: string) =>
        Effect.promise(() =>
          fetch(chain.rpcUrl, { method: "POST", headers: { "content-type": "application/json" }, body }).then((_) =>
            _.json()
          )
        )
      const answer = yield* post(JSON.stringify([
        { jsonrpc: "2.0", id: "a", method: "eth_chainId" },
        { jsonrpc: "2.0", id: 2, method: "tempo_fundAddress", params: [] },
        { jsonrpc: "2.0", id: 3, method: "eth_nonsense", params: [] }
      ]))
      assert.deepStrictEqual(
        answer.map((
          _: { id: unknown; error?: { code: number }; result?: unknown }
        ) => [_.id, _.result ?? _.error?.code]),
        [
          ["a", "0x539"],
          [2, -32602],
          [3, -32601]
        ]
      )
      assert.strictEqual((yield* post("tempo_fundAddress")).error.code, -32600)
    }))
})

describe("a local Tempo chain", () => {
  it.live("has the chain id that was asked for, and makes no blocks unless told to", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      assert.strictEqual(yield* chain.rpc("eth_chainId"), "0xa5bf")
      assert.strictEqual(chain.pathUsd.chainId, 42431)
      const height = yield* chain.blockNumber
      const { address } = stranger()
      yield* chain.fund(address, 5n)
      assert.strictEqual(yield* chain.balance(address), 5n)
      assert.strictEqual(yield* chain.blockNumber, height + 1n)
      assert.strictEqual(local(chain.accounts[3]!).address, chain.accounts[3]!.address)
    }).pipe(Effect.provide(Tempo.layer({ chainId: 42431, noMining: true }))))

  it.live("ends with its scope", () =>
    Effect.gen(function*() {
      const chain = yield* Effect.scoped(
        Effect.map(Layer.build(Tempo.layer()), (context) => Context.get(context, Tempo.TempoChain))
      )
      const error = yield* Effect.flip(chain.blockNumber)
      assert.strictEqual(error.detail, "the node did not answer")
      assert.isTrue(
        yield* Effect.promise(() => fetch(chain.nodeUrl).then(() => false, () => true))
      )
    }))
})
