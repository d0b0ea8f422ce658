import { Clock, Effect, Option } from "effect"
import {
  type Address,
  decodeFunctionData,
  encodeAbiParameters,
  type Hex,
  keccak256,
  type LocalAccount,
  zeroAddress
} from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { Transaction } from "viem/tempo"
import { concatHex } from "viem/utils"
import type * as Chain from "../../src/Chain.ts"
import { ChainError } from "../../src/PaymentError.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import type * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Source from "../../src/wire/mpp/Source.ts"
import * as TempoSession from "../../src/wire/mpp/TempoSession.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as Voucher from "../../src/wire/mpp/Voucher.ts"
import { network, token } from "./tempoChain.ts"

export const payer = privateKeyToAccount(`0x${"11".repeat(32)}`)
export const payee = privateKeyToAccount(`0x${"12".repeat(32)}`)
export const stranger = privateKeyToAccount(`0x${"13".repeat(32)}`)

const chainId = 1337
export const place = { chainId, escrow: Channel.escrowV2 }

const lower = (account: { readonly address: Address }) => Channel.lower(account.address)

const nonceHashOf = Effect.fnUntraced(function*(unsigned: TempoTransaction.Unsigned) {
  const serialized = yield* Effect.promise(() => Transaction.serialize(TempoTransaction.serializable(unsigned)))
  return keccak256(concatHex([serialized, unsigned.from]))
})

// ---------------------------------------------------------------------------------------------------------------------
// A node with a reserve, which keeps to its rules
// ---------------------------------------------------------------------------------------------------------------------

interface State {
  settled: bigint
  deposit: bigint
  closeRequestedAt: number
}

/** What the payee has got of a channel that was closed, and the highest voucher that was shown. */
export interface Closed {
  readonly channelId: Hex
  readonly cumulative: bigint
  readonly captured: bigint
}

export const reserveNode = () => {
  const channels = new Map<Hex, State>()
  const closed: Array<Closed> = []
  const settled: Array<bigint> = []
  const sent: Array<Hex> = []
  const asked = { states: 0 }
  const receipts = new Map<Hex, Chain.Receipt>()
  const node = { isUp: true }
  const fail = (operation: string) => Effect.fail(new ChainError({ network, operation, detail: "the node is down" }))

  const apply = (transaction: TempoTransaction.Decoded, nonceHash: Hex) => {
    for (const { data } of transaction.calls) {
      const { args, functionName } = decodeFunctionData({ abi: Channel.abi, data })
      if (functionName === "open") {
        const [payee, operator, token, deposit, salt, authorizedSigner] = args
        const descriptor = { payer: transaction.from, payee, operator, token, salt, authorizedSigner }
        channels.set(Channel.id({ ...descriptor, expiringNonceHash: nonceHash }, place), {
          settled: 0n,
          deposit,
          closeRequestedAt: 0
        })
      } else if (functionName === "topUp") {
        channels.get(Channel.id(args[0], place))!.deposit += args[1]
      } else if (functionName === "settle") {
        channels.get(Channel.id(args[0], place))!.settled = args[1]
        settled.push(args[1])
      } else if (functionName === "close") {
        const channelId = Channel.id(args[0], place)
        const { settled } = channels.get(channelId)!
        if (args[2] < settled || args[2] > args[1]) throw new Error("CaptureAmountInvalid")
        channels.delete(channelId)
        closed.push({ channelId, cumulative: args[1], captured: args[2] })
      }
    }
  }

  const api: Chain.Node = {
    network,
    block: () =>
      Effect.map(Clock.currentTimeMillis, (now) => ({
        number: 1n,
        timestamp: BigInt(Math.floor(now / 1000)),
        baseFeePerGas: 1_000_000_000n
      })),
    call: (_, data) =>
      Effect.andThen(Effect.yieldNow, () => {
        asked.states++
        if (!node.isUp) return fail("call")
        const { args } = decodeFunctionData({ abi: Channel.abi, data })
        const { closeRequestedAt, deposit, settled } = channels.get(String(args?.[0]) as Hex) ??
          { settled: 0n, deposit: 0n, closeRequestedAt: 0 }
        return Effect.succeed(encodeAbiParameters(
          [{ type: "uint96" }, { type: "uint96" }, { type: "uint32" }],
          [settled, deposit, closeRequestedAt]
        ))
      }),
    code: () => Effect.never,
    logs: () => Effect.never,
    receiptLogs: () => Effect.never,
    receipt: (hash) => Effect.succeed(Option.fromUndefinedOr(receipts.get(hash))),
    limits: () => Effect.succeedNone,
    estimateGas: () => node.isUp ? Effect.succeed(Option.some(100_000n)) : fail("estimate"),
    send: Effect.fnUntraced(function*(signed) {
      if (!node.isUp) return yield* fail("send")
      const transaction = Option.getOrThrow(TempoTransaction.decode(signed))
      const { signature: _, ...unsigned } = transaction.serializable
      const serialized = yield* Effect.promise(() => Transaction.serialize(unsigned))
      sent.push(signed)
      apply(transaction, keccak256(concatHex([serialized, transaction.from])))
      const transactionHash = keccak256(signed)
      const receipt = {
        transactionHash,
        blockNumber: 1n,
        succeeded: true,
        gasUsed: 1n,
        effectiveGasPrice: 1n,
        logs: []
      }
      receipts.set(transactionHash, receipt)
      return Option.some(receipt)
    })
  }
  return { node: api, channels, closed, settled, sent, asked, behave: (isUp: boolean) => Object.assign(node, { isUp }) }
}

// ---------------------------------------------------------------------------------------------------------------------
// A payer
// ---------------------------------------------------------------------------------------------------------------------

export interface Opening {
  readonly descriptor: Channel.Descriptor
  readonly channelId: Hex
  readonly transaction: Hex
}

/** A transaction that opens a channel, but for what differs. */
export const openingOf = Effect.fnUntraced(function*(
  change: {
    readonly deposit?: bigint
    readonly payee?: Address
    readonly operator?: Address
    readonly token?: Address
    readonly signer?: LocalAccount
    readonly calls?: (call: { readonly to: Address; readonly data: Hex }) => TempoTransaction.Unsigned["calls"]
    readonly salt?: Hex
    readonly authorizedSigner?: Address
    readonly sponsored?: boolean
  } = {}
): Effect.fn.Return<Opening> {
  const { deposit = 1_000_000n, sponsored = false } = change
  const made = {
    payee: change.payee ?? lower(payee),
    operator: change.operator ?? zeroAddress,
    token: change.token ?? token,
    salt: change.salt ?? `0x${"5a".repeat(32)}` as const,
    authorizedSigner: change.authorizedSigner ?? zeroAddress
  }
  const call = Channel.openCall({ ...made, deposit })
  const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  const unsigned: TempoTransaction.Unsigned = {
    chainId,
    from: lower(payer),
    calls: change.calls?.(call) ?? [call],
    gas: "600000",
    maxFeePerGas: "30000000000",
    maxPriorityFeePerGas: "1000000000",
    validBefore: now + 25,
    sponsored,
    ...(sponsored ? {} : { feeToken: token })
  }
  const descriptor = { payer: lower(payer), ...made, expiringNonceHash: yield* nonceHashOf(unsigned) }
  const transaction = yield* Effect.promise(() =>
    (change.signer ?? payer).signTransaction(TempoTransaction.serializable(unsigned), {
      serializer: Transaction.serialize
    })
  )
  return { descriptor, channelId: Channel.id(descriptor, place), transaction }
})

/** A transaction that adds to a channel. */
export const additionOf = Effect.fnUntraced(function*({ descriptor }: Opening, additional: bigint) {
  const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  return yield* Effect.promise(() =>
    payer.signTransaction(
      TempoTransaction.serializable({
        chainId,
        from: lower(payer),
        calls: [Channel.topUpCall(descriptor, additional)],
        gas: "600000",
        maxFeePerGas: "30000000000",
        maxPriorityFeePerGas: "1000000000",
        validBefore: now + 25,
        sponsored: false,
        feeToken: token
      }),
      { serializer: Transaction.serialize }
    )
  )
})

export const voucherOf = ({ channelId }: { readonly channelId: Hex }, cumulative: bigint, signer = payer) =>
  Effect.promise(() => signer.signTypedData(Voucher.typedData({ ...place, channelId, cumulative })))

/** The credential that does something with a channel. */
export const credential = Effect.fnUntraced(function*(
  challenge: Challenge.Challenge,
  action: "open" | "voucher" | "close",
  opening: Opening,
  cumulative: bigint,
  signature?: Hex
): Effect.fn.Return<Credential.Credential> {
  const { channelId, descriptor, transaction } = opening
  return {
    challenge,
    source: Source.format(chainId, lower(payer)),
    payload: {
      action,
      channelId,
      descriptor,
      cumulativeAmount: cumulative.toString(),
      signature: signature ?? (yield* voucherOf(opening, cumulative)),
      ...(action === "open" ? { type: "transaction", transaction } : {})
    }
  }
})

export const requestOf = (challenge: Challenge.Challenge) => Effect.fromResult(TempoSession.fromChallenge(challenge))
