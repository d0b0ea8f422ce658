import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { privateKeyToAccount } from "viem/accounts"
import { decodeFunctionResult, encodeFunctionData, parseAbi } from "viem/utils"
import * as Anvil from "../../../src/testing/chain/Anvil.ts"
import * as Evm from "../../../src/testing/chain/Evm.ts"
import * as TestToken from "../../../src/testing/chain/TestToken.ts"

const nonceOf = (digit: string) => `0x${digit.repeat(64)}` as const

/** What a facilitator would send: `accounts[3]` lets `accounts[4]` have 250 units. */
const transferWithAuthorization = Effect.fnUntraced(function*(options: {
  readonly nonce: `0x${string}`
  readonly validBefore: bigint
  readonly signer?: Evm.Account
}) {
  const chain = yield* Evm.EvmChain
  const [from, to] = [chain.accounts[3]!, chain.accounts[4]!]
  const message = {
    from: from.address,
    to: to.address,
    value: 250n,
    validAfter: 0n,
    validBefore: options.validBefore,
    nonce: options.nonce
  }
  const signature = yield* Effect.promise(() =>
    privateKeyToAccount(Redacted.value((options.signer ?? from).privateKey)).signTypedData({
      domain: {
        ...chain.asset.domain!,
        chainId: chain.chainId,
        verifyingContract: chain.asset.address as `0x${string}`
      },
      types: {
        TransferWithAuthorization: [
          { name: "from", type: "address" },
          { name: "to", type: "address" },
          { name: "value", type: "uint256" },
          { name: "validAfter", type: "uint256" },
          { name: "validBefore", type: "uint256" },
          { name: "nonce", type: "bytes32" }
        ]
      },
      primaryType: "TransferWithAuthorization",
      message
    })
  )
  const data = encodeFunctionData({
    abi: TestToken.abi,
    functionName: "transferWithAuthorization",
    args: [...Object.values(message), signature] as never
  })
  const transaction = { from: chain.accounts[5]!.address, to: chain.asset.address, data }
  yield* chain.rpc("eth_call", [transaction, "pending"])
  yield* chain.rpc("eth_sendTransaction", [transaction])
  yield* chain.mine()
})

layer(Evm.layer({ chainId: 84532 }))("a local chain", (it) => {
  it.effect("answers for the chain id that was asked for, on loopback", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      assert.strictEqual(yield* chain.rpc("eth_chainId", []), "0x14a34")
      assert.match(chain.rpcUrl, /^http:\/\/127\.0\.0\.1:\d+$/)
      assert.strictEqual(chain.network, "eip155:84532")
      assert.strictEqual(chain.asset.address, "0x036cbd53842c5426634e7929541ec2318f3dcf7e")
    }))

  it.effect("mints, and counts no minting as a transfer", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const account = chain.accounts[8]!.address
      const before = yield* chain.balance(account)
      yield* chain.mint(account, 1_000_000n)
      assert.strictEqual((yield* chain.balance(account)) - before, 1_000_000n)
      assert.deepStrictEqual((yield* chain.transfers).filter(({ to }) => to === account), [])
    }))

  it.effect("mints for several at a time", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const account = chain.accounts[7]!.address
      yield* Effect.all([1n, 2n, 3n, 4n, 5n].map((units) => chain.mint(account, units)), { concurrency: "unbounded" })
      assert.strictEqual(yield* chain.balance(account), 15n)
    }))

  it.effect("moves money once for a signed authorisation", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [from, to] = [chain.accounts[3]!.address, chain.accounts[4]!.address]
      yield* chain.mint(from, 1000n)
      const validBefore = (yield* chain.now) + 60n
      yield* transferWithAuthorization({ nonce: nonceOf("1"), validBefore })
      assert.isTrue(yield* chain.authorizationState(from, nonceOf("1")))
      const again = yield* Effect.flip(transferWithAuthorization({ nonce: nonceOf("1"), validBefore }))
      assert.match(again.message, /used or canceled/)
      assert.strictEqual(yield* chain.balance(to), 250n)
      assert.deepStrictEqual(
        (yield* chain.transfers).map(({ from, to, units }) => ({ from, to, units })),
        [{ from, to, units: 250n }]
      )
    }))

  it.effect("refuses the signature of another account", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      yield* chain.mint(chain.accounts[3]!.address, 1000n)
      const error = yield* Effect.flip(transferWithAuthorization({
        nonce: nonceOf("2"),
        validBefore: (yield* chain.now) + 60n,
        signer: chain.accounts[5]!
      }))
      assert.match(error.message, /invalid signature/)
    }))

  it.effect("refuses an authorisation that was cancelled", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      yield* chain.cancelAuthorization(chain.accounts[3]!, nonceOf("3"))
      assert.isTrue(yield* chain.authorizationState(chain.accounts[3]!.address, nonceOf("3")))
      const error = yield* Effect.flip(
        transferWithAuthorization({ nonce: nonceOf("3"), validBefore: (yield* chain.now) + 60n })
      )
      assert.match(error.message, /used or canceled/)
    }))

  it.effect("lets time pass when told to, and refuses what is out of date", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const validBefore = (yield* chain.now) + 60n
      const height = yield* chain.blockNumber
      yield* chain.setNextTimestamp(validBefore)
      yield* chain.mine()
      assert.strictEqual(yield* chain.blockNumber, height + 1n)
      const error = yield* Effect.flip(transferWithAuthorization({ nonce: nonceOf("4"), validBefore }))
      assert.match(error.message, /expired/)
    }))

  it.effect("answers several reads in one call, those that fail among them", () =>
    Effect.gen(function*() {
      const { asset, rpc } = yield* Evm.EvmChain
      const target = asset.address as `0x${string}`
      const abi = parseAbi([
        "function aggregate3((address target, bool allowFailure, bytes callData)[] calls) view returns ((bool success, bytes data)[])",
        "function tryAggregate(bool requireSuccess, (address target, bytes callData)[] calls) view returns ((bool success, bytes data)[])"
      ])
      const callData = encodeFunctionData({ abi: TestToken.abi, functionName: "balanceOf", args: [target] })
      const ask = (data: `0x${string}`) => rpc("eth_call", [{ to: TestToken.multicallAddress, data }, "latest"])
      const three = yield* ask(encodeFunctionData({
        abi,
        functionName: "aggregate3",
        args: [[{ target, allowFailure: true, callData }, { target, allowFailure: true, callData: "0x" }]]
      }))
      const tried = yield* ask(encodeFunctionData({
        abi,
        functionName: "tryAggregate",
        args: [false, [{ target, callData }, { target, callData: "0x" }]]
      }))
      assert.deepStrictEqual(
        decodeFunctionResult({ abi, functionName: "aggregate3", data: three as `0x${string}` }).map((_) => _.success),
        [true, false]
      )
      assert.strictEqual(tried, three)
    }))
})

describe("a local node", () => {
  it.live("makes no blocks unless told to", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [from, to] = chain.accounts
      yield* chain.rpc("eth_sendTransaction", [{ from: from!.address, to: to!.address, value: "0x1" }])
      const height = yield* chain.blockNumber
      yield* chain.mint(to!.address, 5n)
      assert.strictEqual(yield* chain.blockNumber, height + 1n)
    }).pipe(Effect.provide(Evm.layer({ noMining: true }))))

  it.live("ends with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const node = yield* Anvil.start({ chainId: 31337 }).pipe(Scope.provide(scope))
      assert.strictEqual(yield* node.rpc("eth_blockNumber"), "0x0")
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(node.rpc("eth_blockNumber"))
      assert.strictEqual(error.detail, "the node did not answer")
    }))
})
