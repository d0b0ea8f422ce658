/**
 * The reserve of channels on a chain, as a payee uses it: what it keeps of a channel, and the transactions by which the
 * payee settles and closes. This module loads `viem/tempo`, which takes a while.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Address, Hex, LocalAccount } from "viem"
import { Transaction } from "viem/tempo"
import { decodeFunctionResult, encodeFunctionData } from "viem/utils"
import type * as Chain from "../../Chain.ts"
import { ChainError } from "../../PaymentError.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import { Unsettled } from "../ChargeWay.ts"
import * as Confirmation from "../tempoCharges/Confirmation.ts"

/**
 * What the reserve keeps of a channel. Without a deposit there is none: it was never opened, or has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly settled: bigint
  readonly deposit: bigint
  /** Seconds since the epoch; 0 unless the payer asked for its end. */
  readonly closeRequestedAt: number
}

const readState = Option.liftThrowable((data: Hex): State =>
  decodeFunctionResult({ abi: Channel.abi, functionName: "getChannelState", data })
)

const askOne = Effect.fnUntraced(function*(node: Chain.Node, channelId: Hex): Effect.fn.Return<State, ChainError> {
  const data = encodeFunctionData({ abi: Channel.abi, functionName: "getChannelState", args: [channelId] })
  const answer = yield* node.call(Channel.escrowV2, data, "latest")
  return yield* Effect.mapError(
    Effect.fromOption(readState(answer)),
    () =>
      new ChainError({
        network: node.network,
        operation: "channel",
        detail: "the reserve of channels answers what cannot be read"
      })
  )
})

/**
 * The state of a channel, as the first node that answers tells it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const state = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  channelId: Hex
): Effect.fn.Return<State, ChainError> {
  let failure: ChainError | undefined
  for (const node of nodes) {
    const answer = yield* Effect.result(askOne(node, channelId))
    if (Result.isSuccess(answer)) return answer.success
    failure = answer.failure
  }
  return yield* failure ?? new ChainError({ network: "none", operation: "channel", detail: "no RPC is configured" })
})

/**
 * Whether all nodes answer, and none of them has a deposit for the channel.
 *
 * @category combinators
 * @since 0.1.0
 */
export const isGone = (nodes: ReadonlyArray<Chain.Node>, channelId: Hex): Effect.Effect<boolean> =>
  Effect.map(
    Effect.forEach(
      nodes,
      (node) => Effect.orElseSucceed(Effect.map(askOne(node, channelId), ({ deposit }) => deposit === 0n), () => false),
      { concurrency: "unbounded" }
    ),
    (gone) => gone.length > 0 && gone.every(Boolean)
  )

/**
 * Who signs for the payee.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The payee, or the operator of its channels. Pays for its transactions. */
  readonly account: LocalAccount
  /** The token that their fees are paid in (default: that of the channel). */
  readonly feeToken: Address | undefined
  readonly timeout: Duration.Duration
}

/** For how long a transaction can be mined, in seconds. */
const validity = 25

/** Beyond the base fee, in units of 10^-18 US dollar; and the highest price that is paid at all. */
const priorityFee = 1_000_000_000n
const highestFeePerGas = 100_000_000_000n

/** What is taken where a node cannot tell. */
const ordinaryGas = 900_000n
const mostGas = 2_000_000n

const failed = (detail: string) => new Unsettled({ outcome: "failed", detail })
const unavailable = (detail: string) => new Unsettled({ outcome: "unavailable", detail })

const smaller = (one: bigint, other: bigint) => one < other ? one : other

/** A node that answers with an error has looked at the transaction; one that does not answer has not. */
const firstAnswer = Effect.fnUntraced(function*<A>(
  nodes: ReadonlyArray<Chain.Node>,
  ask: (node: Chain.Node) => Effect.Effect<A, ChainError>
): Effect.fn.Return<A, Unsettled> {
  for (const node of nodes) {
    const answer = yield* Effect.result(ask(node))
    if (Result.isSuccess(answer)) return answer.success
    if (answer.failure.code !== undefined) return yield* failed("the transaction would be reverted")
  }
  return yield* unavailable("no node answers")
})

/**
 * Makes a call of the reserve, and waits until it is mined; the hash of its transaction.
 *
 * @category combinators
 * @since 0.1.0
 */
export const transact = Effect.fnUntraced(function*(
  { account, feeToken, timeout }: Options,
  nodes: ReadonlyArray<Chain.Node>,
  chainId: number,
  token: Address,
  data: Hex
): Effect.fn.Return<Hex, Unsettled> {
  const calls = [{ to: Channel.escrowV2, data }] as const
  const from = Channel.lower(account.address)
  const paidIn = feeToken ?? token
  const { baseFeePerGas = 0n, timestamp } = yield* firstAnswer(nodes, (node) => node.block("latest"))
  const estimated = yield* firstAnswer(nodes, (node) =>
    node.estimateGas({
      type: "0x76",
      from,
      calls: calls.map(({ data, to }) => ({ to, data, value: "0x0" })),
      feeToken: paidIn
    }))
  const gas = Option.match(estimated, { onNone: () => ordinaryGas, onSome: (gas) => (gas * 13n) / 10n + 20_000n })
  const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  const unsigned: TempoUnsigned.Unsigned = {
    chainId,
    from,
    calls,
    gas: smaller(gas, mostGas).toString(),
    maxFeePerGas: smaller((baseFeePerGas * 3n) / 2n + priorityFee, highestFeePerGas).toString(),
    maxPriorityFeePerGas: priorityFee.toString(),
    validBefore: Math.min(now, Number(timestamp) + 5) + validity,
    feeToken: paidIn,
    sponsored: false
  }
  const signed = yield* Effect.tryPromise({
    try: () => account.signTransaction(TempoUnsigned.serializable(unsigned), { serializer: Transaction.serialize }),
    catch: () => unavailable("the payee's account does not sign")
  })
  const hash = TempoUnsigned.hash(signed)
  const sent = Option.flatten(yield* Effect.timeoutOption(Confirmation.send(nodes, signed), timeout))
  const outcome = Option.isSome(sent)
    ? sent.value
    : yield* Confirmation.wait(nodes, { hash, validBefore: unsigned.validBefore }, timeout)
  if (outcome === "void") return yield* failed("the transaction has expired")
  if (outcome === "unknown") return yield* new Unsettled({ outcome, detail: "the transaction is not confirmed" })
  return outcome.succeeded ? hash : yield* failed("the transaction was reverted")
})

/**
 * What the reserve is called with to close a channel: `captured` goes to the payee, and the rest back.
 *
 * @category constructors
 * @since 0.1.0
 */
export const closeData = (
  descriptor: Channel.Descriptor,
  voucher: { readonly accepted: bigint; readonly signature: Hex },
  captured: bigint
): Hex =>
  encodeFunctionData({
    abi: Channel.abi,
    functionName: "close",
    args: [descriptor, voucher.accepted, captured, voucher.signature]
  })

/**
 * What the reserve is called with to take all that a voucher is good for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const settleData = (
  descriptor: Channel.Descriptor,
  voucher: { readonly accepted: bigint; readonly signature: Hex }
): Hex =>
  encodeFunctionData({
    abi: Channel.abi,
    functionName: "settle",
    args: [descriptor, voucher.accepted, voucher.signature]
  })
