import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Hex, type LocalAccount, parseEventLogs, zeroAddress } from "viem"
import { sendTransactionSync } from "viem/actions"
import { Abis, Actions, Addresses, Channel } from "viem/tempo"
import { encodeFunctionData, keccak256, stringToHex } from "viem/utils"
import * as Anvil from "../../../src/testing/chain/Anvil.ts"
import * as ChannelReserve from "../../../src/testing/chain/ChannelReserve.ts"
import * as Tempo from "../../../src/testing/chain/Tempo.ts"
import { clientOf, local, stranger } from "./tempoClient.ts"

type Chain = Tempo.TempoChain["Service"]

const token = Addresses.pathUsd

/** A channel with a deposit of 1000. The payer is a new account with money for fees. */
const opened = Effect.fnUntraced(function*(chain: Chain, authorizedSigner?: Hex) {
  const payer = stranger()
  const [payee, operator] = [local(chain.accounts[2]!), local(chain.accounts[3]!)]
  yield* chain.fund(payer.address, 1_000_000n)
  const { channelId, ...descriptor } = yield* Effect.promise(() =>
    Actions.channel.openSync(clientOf(chain, payer), {
      payee: payee.address,
      operator: operator.address,
      token,
      deposit: 1000n,
      ...(authorizedSigner === undefined ? {} : { authorizedSigner })
    })
  )
  const channel = Channel.from(descriptor)
  const send = {
    settle: (account: LocalAccount, cumulativeAmount: bigint, signature: Hex) =>
      Actions.channel.settleSync(clientOf(chain, account), { channel, cumulativeAmount, signature }),
    close: (account: LocalAccount, cumulativeAmount: bigint, captureAmount: bigint, signature: Hex) =>
      Actions.channel.closeSync(clientOf(chain, account), { channel, cumulativeAmount, captureAmount, signature }),
    topUp: (account: LocalAccount, additionalDeposit: bigint) =>
      Actions.channel.topUpSync(clientOf(chain, account), { channel, additionalDeposit }),
    requestClose: (account: LocalAccount) => Actions.channel.requestCloseSync(clientOf(chain, account), { channel }),
    withdraw: (account: LocalAccount) => Actions.channel.withdrawSync(clientOf(chain, account), { channel })
  }
  return { channel, channelId, payer, payee, operator, send }
})

/** What an account signs to promise a sum. */
const voucher = (chain: Chain, account: LocalAccount, channel: Hex, cumulativeAmount: bigint) =>
  Effect.promise(() => Actions.channel.signVoucher(clientOf(chain, account), { channel, cumulativeAmount }))

const stateOf = (chain: Chain, channel: Hex) =>
  Effect.promise(() => Actions.channel.getStates(clientOf(chain, stranger()), { channel }))

const done = (send: () => Promise<unknown>) => Effect.asVoid(Effect.promise(send))

/** What the official client says of a transaction that the reserve refuses. */
const refusal = (send: () => Promise<unknown>) =>
  Effect.map(Effect.flip(Effect.tryPromise(send)), ({ cause }) => String(cause).split("\n")[0]!.replace(/^\w+: /, ""))

/** What an account was paid meanwhile. */
const paid = Effect.fnUntraced(function*<E>(chain: Chain, account: Hex, act: Effect.Effect<void, E>) {
  const before = (yield* chain.transfers()).length
  yield* act
  return (yield* chain.transfers()).slice(before).filter(({ to }) => to === account).map(({ units }) => units)
})

layer(Tempo.layer())("the channel reserve of a local Tempo chain", (it) => {
  it.effect("is installed only where the node has none", () =>
    Effect.gen(function*() {
      const node = yield* Anvil.start({ chainId: 1337, args: ["--network", "tempo", "--hardfork", "T4"] })
      assert.isTrue(yield* ChannelReserve.install(node))
      assert.isFalse(yield* ChannelReserve.install(node))
    }))

  it.effect("opens a channel for a deposit, under the id that the payer computes", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channel, channelId, payer } = yield* opened(chain)
      assert.strictEqual(channelId, Channel.computeId(channel, { chainId: chain.chainId }))
      assert.isAbove(Number(channel.expiringNonceHash), 1)
      assert.deepStrictEqual(yield* stateOf(chain, channelId), { settled: 0n, deposit: 1000n, closeRequestedAt: 0 })
      const [deposit, ...more] = (yield* chain.transfers()).filter(({ from }) => from === payer.address)
      assert.deepStrictEqual(more, [])
      assert.strictEqual(deposit?.units, 1000n)
      assert.strictEqual(deposit?.to.toLowerCase(), ChannelReserve.address)
    }))

  it.effect("knows channels of one transaction by the same hash, whoever pays for it", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const payer = stranger()
      yield* chain.fund(payer.address, 100n)
      const open = (salt: string) => ({
        to: Addresses.tip20ChannelReserve as Hex,
        data: encodeFunctionData({
          abi: Abis.tip20ChannelReserve,
          functionName: "open",
          args: [chain.accounts[2]!.address, zeroAddress, token, 10n, keccak256(stringToHex(salt)), zeroAddress]
        })
      })
      const send = (...salts: ReadonlyArray<string>) =>
        sendTransactionSync(clientOf(chain, payer), {
          calls: salts.map(open),
          feePayer: local(chain.accounts[4]!),
          gas: 5_000_000n
        })
      const { logs } = yield* Effect.promise(() => send("a", "b"))
      const events = parseEventLogs({ abi: Abis.tip20ChannelReserve, logs: [...logs], eventName: "ChannelOpened" })
      const [first, second] = events.map(({ args }) => args)
      assert.strictEqual(first?.expiringNonceHash, second?.expiringNonceHash)
      assert.isAbove(Number(first?.expiringNonceHash), 1)
      assert.notStrictEqual(first?.channelId, second?.channelId)
      const twice = yield* Effect.promise(() => send("c", "c"))
      assert.strictEqual(twice.status, "reverted")
      assert.strictEqual(yield* chain.balance(payer.address), 80n)
    }))

  it.effect("settles what a voucher adds to the last, for the payee and the operator", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, operator, payee, payer, send } = yield* opened(chain)
      const first = yield* voucher(chain, payer, channelId, 300n)
      const second = yield* voucher(chain, payer, channelId, 500n)
      assert.deepStrictEqual(yield* paid(chain, payee.address, done(() => send.settle(payee, 300n, first))), [300n])
      assert.deepStrictEqual(yield* paid(chain, payee.address, done(() => send.settle(operator, 500n, second))), [200n])
      assert.strictEqual((yield* stateOf(chain, channelId)).settled, 500n)
      assert.strictEqual(yield* refusal(() => send.settle(payee, 500n, second)), "Amount is not increasing.")
      assert.strictEqual(yield* refusal(() => send.settle(payee, 300n, first)), "Amount is not increasing.")
    }))

  it.effect("takes vouchers of who may sign for the payer, and of nobody else", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = stranger()
      const { channelId, payee, payer, send } = yield* opened(chain, signer.address)
      const other = yield* opened(chain, signer.address)
      const forged = yield* voucher(chain, stranger(), channelId, 300n)
      const byPayer = yield* voucher(chain, payer, channelId, 300n)
      const ofOther = yield* voucher(chain, signer, other.channelId, 300n)
      const signed = yield* voucher(chain, signer, channelId, 300n)
      for (const signature of [forged, byPayer, ofOther, "0x", "0x12", `${signed}00`] as ReadonlyArray<Hex>) {
        assert.strictEqual(yield* refusal(() => send.settle(payee, 300n, signature)), "Invalid signature.")
        assert.strictEqual(yield* refusal(() => send.close(payee, 300n, 300n, signature)), "Invalid signature.")
      }
      assert.strictEqual(yield* refusal(() => send.settle(payee, 301n, signed)), "Invalid signature.")
      yield* done(() => send.settle(payee, 300n, signed))
    }))

  it.effect("pays at the word of payee and operator only, and never more than the deposit", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, payee, payer, send } = yield* opened(chain)
      const signed = yield* voucher(chain, payer, channelId, 300n)
      const tooMuch = yield* voucher(chain, payer, channelId, 1001n)
      for (const account of [stranger(), payer]) {
        assert.strictEqual(yield* refusal(() => send.settle(account, 300n, signed)), "Not payee or operator.")
        assert.strictEqual(yield* refusal(() => send.close(account, 300n, 300n, signed)), "Not payee or operator.")
      }
      assert.strictEqual(yield* refusal(() => send.settle(payee, 1001n, tooMuch)), "Amount exceeds deposit.")
      assert.strictEqual(yield* refusal(() => send.close(payee, 1001n, 1001n, tooMuch)), "Amount exceeds deposit.")
      assert.deepStrictEqual(yield* stateOf(chain, channelId), { settled: 0n, deposit: 1000n, closeRequestedAt: 0 })
    }))

  it.effect("takes more of the payer's money, and of nobody else's", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, payee, payer, send } = yield* opened(chain)
      yield* done(() => send.topUp(payer, 500n))
      assert.strictEqual((yield* stateOf(chain, channelId)).deposit, 1500n)
      assert.strictEqual(yield* refusal(() => send.topUp(payee, 500n)), "Not payer.")
      assert.strictEqual(yield* refusal(() => send.topUp(payer, 2n ** 96n - 1n)), "Deposit overflow.")
      assert.strictEqual((yield* stateOf(chain, channelId)).deposit, 1500n)
    }))

  it.effect("closes with what is captured, gives the rest back, and forgets the channel", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, payee, payer, send } = yield* opened(chain)
      const early = yield* voucher(chain, payer, channelId, 200n)
      const last = yield* voucher(chain, payer, channelId, 500n)
      yield* done(() => send.settle(payee, 200n, early))
      assert.strictEqual(yield* refusal(() => send.close(payee, 500n, 501n, last)), "Capture amount is invalid.")
      assert.strictEqual(yield* refusal(() => send.close(payee, 500n, 199n, last)), "Capture amount is invalid.")
      const close = done(() => send.close(payee, 500n, 400n, last))
      assert.deepStrictEqual(yield* paid(chain, payee.address, close), [200n])
      const refunds = (yield* chain.transfers()).filter(({ to }) => to === payer.address)
      assert.deepStrictEqual(refunds.map(({ units }) => units), [600n])
      assert.strictEqual((yield* stateOf(chain, channelId)).deposit, 0n)
      assert.strictEqual(yield* refusal(() => send.settle(payee, 500n, last)), "Channel not found.")
      assert.strictEqual(yield* refusal(() => send.topUp(payer, 5n)), "Channel not found.")
    }))

  it.effect("needs no voucher to close with what was settled", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { payee, payer, send } = yield* opened(chain)
      assert.deepStrictEqual(yield* paid(chain, payer.address, done(() => send.close(payee, 0n, 0n, "0x"))), [1000n])
    }))

  it.effect("stops closing when the payer tops up", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, payee, payer, send } = yield* opened(chain)
      assert.strictEqual(yield* refusal(() => send.requestClose(payee)), "Not payer.")
      yield* done(() => send.requestClose(payer))
      assert.isAbove((yield* stateOf(chain, channelId)).closeRequestedAt, 0)
      yield* done(() => send.topUp(payer, 1n))
      assert.deepStrictEqual(yield* stateOf(chain, channelId), { settled: 0n, deposit: 1001n, closeRequestedAt: 0 })
    }))

  it.effect("gives the payer the rest back a quarter of an hour after it asked, and not before", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { channelId, payee, payer, send } = yield* opened(chain)
      const signed = yield* voucher(chain, payer, channelId, 300n)
      assert.strictEqual(yield* refusal(() => send.withdraw(payer)), "Channel close has not been requested.")
      yield* done(() => send.requestClose(payer))
      yield* done(() => send.settle(payee, 300n, signed))
      const { closeRequestedAt } = yield* stateOf(chain, channelId)
      yield* chain.setNextTimestamp(BigInt(closeRequestedAt) + 880n)
      yield* chain.mine()
      assert.match(yield* refusal(() => send.withdraw(payer)), /^Channel is not ready to close until /)
      yield* chain.setNextTimestamp(BigInt(closeRequestedAt) + 900n)
      yield* chain.mine()
      assert.strictEqual(yield* refusal(() => send.withdraw(payee)), "Not payer.")
      assert.deepStrictEqual(yield* paid(chain, payer.address, done(() => send.withdraw(payer))), [700n])
      assert.strictEqual(yield* refusal(() => send.withdraw(payer)), "Channel not found.")
    }))
})
