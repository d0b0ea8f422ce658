import { Effect, Layer, Option } from "effect"
import { type Address, type Hex, keccak256 } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { Transaction } from "viem/tempo"
import { encodeAbiParameters, encodeEventTopics, parseAbi } from "viem/utils"
import { Asset } from "../../src/Asset.ts"
import * as Chain from "../../src/Chain.ts"
import * as TempoTransfers from "../../src/merchant/tempoCharges/Transfers.ts"
import { ChainError } from "../../src/PaymentError.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as TempoCharge from "../../src/wire/mpp/TempoCharge.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"

export const token: Address = "0x20c0000000000000000000000000000000000000"
export const network = "eip155:1337"
export const asset = new Asset({ network, address: token, symbol: "pathUSD", decimals: 6, usd: true, testnet: true })
export const payTo: Address = "0x00000000000000000000000000000000000000bb"
export const affiliate: Address = "0x00000000000000000000000000000000000000cc"
export const account = privateKeyToAccount(`0x${"01".repeat(32)}`)
export const sponsor = privateKeyToAccount(`0x${"02".repeat(32)}`)
export const stranger = privateKeyToAccount(`0x${"03".repeat(32)}`)

const lowerCase = (address: Address): Address => `0x${address.slice(2).toLowerCase()}`

// ---------------------------------------------------------------------------------------------------------------------
// What a payer makes of a challenge
// ---------------------------------------------------------------------------------------------------------------------

type Transfers = ReturnType<typeof TempoCharge.transfers>

export interface Change extends Partial<Omit<TempoTransaction.Unsigned, "from">> {
  readonly signer?: typeof account
  readonly memo?: Hex
  /** Changes the transfers, or adds to them. */
  readonly transfers?: (transfers: Transfers) => Transfers
}

/** The members of `Transaction.serialize` that `Unsigned` has not. */
type More = Partial<Pick<Transaction.TransactionSerializableTempo, "nonceKey" | "nonce" | "accessList" | "validAfter">>

/** A transaction that answers a challenge, but for what differs. Signed with codecs of ours, and keys of viem. */
export const sign = Effect.fnUntraced(function*(
  challenge: Challenge.Challenge,
  { memo, signer = account, transfers, ...change }: Change = {},
  more: More = {}
) {
  const request = yield* Effect.fromResult(TempoCharge.fromChallenge(challenge))
  const attribution = TempoCharge.attribution({ realm: challenge.realm, challengeId: challenge.id })
  const asked = TempoCharge.transfers(request, memo ?? attribution)
  const unsigned = {
    chainId: request.methodDetails!.chainId!,
    from: lowerCase(signer.address),
    calls: TempoTransaction.calls(request.currency, transfers === undefined ? asked : transfers(asked)),
    gas: "600000",
    maxFeePerGas: "30000000000",
    maxPriorityFeePerGas: "1000000000",
    validBefore: Math.floor(Date.parse(challenge.expires!) / 1000) - 275,
    sponsored: request.methodDetails?.feePayer === true,
    ...(request.methodDetails?.feePayer === true ? {} : { feeToken: request.currency }),
    ...change
  }
  return yield* Effect.promise(() =>
    signer.signTransaction({ ...TempoTransaction.serializable(unsigned), ...more }, {
      serializer: Transaction.serialize
    })
  )
})

export const prove = Effect.fnUntraced(function*(
  challenge: Challenge.Challenge,
  { chainId = 1337, of = account, signer = account }: {
    readonly signer?: typeof account
    readonly of?: typeof account
    readonly chainId?: number
  } = {}
) {
  return yield* Effect.promise(() =>
    signer.signTypedData(TempoCharge.proofTypedData({
      account: of.address,
      chainId,
      challengeId: challenge.id,
      realm: challenge.realm
    }))
  )
})

// ---------------------------------------------------------------------------------------------------------------------
// A node that does as it is told
// ---------------------------------------------------------------------------------------------------------------------

export interface Behaviour {
  /**
   * What becomes of what is sent, in order; the last one repeats:
   *
   * - `mined`: it is mined, and its receipt answered.
   * - `reverted`: likewise, but it was reverted.
   * - `lost`: it is mined, and the answer lost.
   * - `pooled`: it waits to be mined.
   * - `refused`: the node does not take it.
   */
  readonly send: ReadonlyArray<"mined" | "reverted" | "lost" | "pooled" | "refused">
  readonly estimate: "fits" | "reverts" | "down"
  /** Whether it answers questions. */
  readonly isUp: boolean
  /** How old its latest block is, in seconds. */
  readonly behind: number
}

const abi = parseAbi([
  "event Transfer(address indexed from, address indexed to, uint256 amount)",
  "event TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 indexed memo)"
])

const logsOf = (transactionHash: Hex, { from, memo, to, units }: TempoTransfers.Moved): ReadonlyArray<Chain.Log> => {
  const log = (topics: ReturnType<typeof encodeEventTopics>): Chain.Log => ({
    transactionHash,
    blockNumber: 1n,
    address: token,
    topics: topics as ReadonlyArray<Hex>,
    data: encodeAbiParameters([{ type: "uint256" }], [units])
  })
  const plain = log(encodeEventTopics({ abi, eventName: "Transfer", args: { from, to } }))
  return memo === undefined
    ? [plain]
    : [plain, log(encodeEventTopics({ abi, eventName: "TransferWithMemo", args: { from, to, memo } }))]
}

export const receiptOf = (signed: Hex, succeeded = true): Chain.Receipt => {
  const transactionHash = keccak256(signed)
  const { calls, from } = Option.getOrThrow(TempoTransaction.decode(signed))
  const moved = calls.flatMap((call) => Option.toArray(TempoTransfers.fromCall(token, from, call)))
  return {
    transactionHash,
    blockNumber: 1n,
    succeeded,
    gasUsed: 1n,
    effectiveGasPrice: 1n,
    logs: moved.flatMap((transfer) => logsOf(transactionHash, transfer))
  }
}

/** One node. `sent` is what it was handed, `mined` what it has receipts of. */
export const fakeNode = (behaviour: Partial<Behaviour> = {}) => {
  const state: Behaviour = { send: ["mined"], estimate: "fits", isUp: true, behind: 0, ...behaviour }
  const sent: Array<Hex> = []
  const mined = new Map<Hex, Chain.Receipt>()
  const known = new Set<Hex>()
  const fail = (operation: string, detail: string) => Effect.fail(new ChainError({ network, operation, detail }))
  const answers = (operation: string, code: number) =>
    Effect.fail(new ChainError({ network, operation, detail: "it refuses", code }))
  const ifUp = <A>(operation: string, answer: () => Effect.Effect<A, ChainError>) =>
    Effect.suspend(() => state.isUp ? answer() : fail(operation, "the node did not answer"))
  const node: Chain.Node = {
    network,
    block: () =>
      ifUp("block", () =>
        Effect.map(Effect.clockWith((clock) => clock.currentTimeMillis), (now) => ({
          number: 1n,
          timestamp: BigInt(Math.floor(now / 1000) - state.behind)
        }))),
    call: () => Effect.never,
    code: () => Effect.never,
    logs: () => Effect.never,
    receiptLogs: () => Effect.never,
    receipt: (hash) => ifUp("receipt", () => Effect.succeed(Option.fromUndefinedOr(mined.get(hash)))),
    limits: (hash) =>
      ifUp("transaction", () =>
        Effect.succeed(
          known.has(hash) ? Option.some({ gas: 1n, maxFeePerGas: 1n }) : Option.none<Chain.Limits>()
        )),
    estimateGas: () =>
      Effect.suspend(() => {
        const answer = state.estimate === "fits"
          ? Effect.succeed(Option.some(100_000n))
          : state.estimate === "down"
          ? fail("estimate gas", "the node did not answer")
          : answers("estimate gas", 3)
        return Effect.andThen(Effect.yieldNow, answer)
      }),
    send: (signed) =>
      ifUp("send", () => {
        const how = state.send[Math.min(sent.push(signed), state.send.length) - 1]!
        if (how === "refused") return answers("send", -32_000)
        const receipt = receiptOf(signed, how !== "reverted")
        known.add(receipt.transactionHash)
        if (how === "pooled") return Effect.succeedNone
        mined.set(receipt.transactionHash, receipt)
        return how === "lost" ? fail("send", "the node did not answer") : Effect.succeed(Option.some(receipt))
      })
  }
  return { node, sent, mined, known, behave: (changed: Partial<Behaviour>) => Object.assign(state, changed) }
}

export type FakeNode = ReturnType<typeof fakeNode>

export const chainOf = (...nodes: ReadonlyArray<FakeNode>) =>
  Layer.succeed(Chain.Chain, {
    nodes: (asked) => asked === network ? nodes.map(({ node }) => node) : [],
    networks: [network]
  })
