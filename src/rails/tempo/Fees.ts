/**
 * What a Tempo transaction may cost. Gas and the price of gas are the only figures that are taken from a node, and both are
 * bounded: by a table of what transfers take, and by a price that no chain of today comes near to.
 *
 * What a node has said stays good for a while, so that most payments ask nothing at all.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import type { Address, Hex } from "viem"
import { numberToHex } from "viem/utils"
import type { Asset } from "../../Asset.ts"
import type * as Chain from "../../Chain.ts"
import { ChainError, InsufficientFunds } from "../../PaymentError.ts"
import type { Transfer } from "../../wire/mpp/TempoCharge.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import * as Eip3009 from "../Eip3009.ts"

/**
 * The highest price of a unit of gas that is signed, in units of 10^-18 US dollar: five times that of today's main network.
 *
 * @category constants
 * @since 0.1.0
 */
export const highestFeePerGas = 100_000_000_000n

/**
 * What is offered beyond the base fee where the program does not say, in units of 10^-18 US dollar.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultPriorityFee = 1_000_000_000n

/**
 * What transfers take: at least, to accounts that hold the token already; ordinarily not more than, where each makes a new
 * entry; and what is not exceeded whatever a node says. Measured on a chain of hard fork T4, and rounded up.
 *
 * @category constants
 * @since 0.1.0
 */
export const gasOf = (transfers: number): Gas => ({
  least: 45_000n + 10_000n * BigInt(transfers),
  ordinary: 45_000n + 270_000n * BigInt(transfers),
  most: 60_000n + 500_000n * BigInt(transfers)
})

/**
 * What a transaction takes: at least, ordinarily not more than, and never more than.
 *
 * @category models
 * @since 0.1.0
 */
export interface Gas {
  readonly least: bigint
  readonly ordinary: bigint
  readonly most: bigint
}

/** A node that does not count calls estimates any number of them alike; up to this many it says enough all the same. */
const countedAnyway = 3

/**
 * How long figures are used again, in milliseconds. The base fee rises by an eighth per block at most, and half as much again
 * is offered.
 */
const keep = { head: 2_000, gas: 60_000, balance: 10_000 }

/** A payer who holds many times this of the token for fees is not asked after it again at once. In micro-dollars. */
const ordinaryFee = 10_000n

/** A payment does not wait longer than this to learn what the payer holds, in milliseconds. */
const balanceWithin = 2_000

/** A balance that was seen before is believed while it is so many times what is needed. */
const ample = 20n

interface Known<A> {
  readonly at: number
  readonly value: A
}

/** Asks, unless it was asked not long ago. */
const recently = <A>(millis: number) =>
  Effect.map(
    Ref.make<ReadonlyMap<string, Known<A>>>(new Map()),
    (known) =>
      Effect.fnUntraced(function*<E>(
        key: string,
        ask: Effect.Effect<A, E>,
        suffices: (value: A) => boolean = () => true
      ): Effect.fn.Return<A, E> {
        const at = yield* Clock.currentTimeMillis
        const isNew = (one: Known<A>) => at >= one.at && at - one.at < millis
        const found = (yield* Ref.get(known)).get(key)
        if (found !== undefined && isNew(found) && suffices(found.value)) return found.value
        const value = yield* ask
        yield* Ref.update(known, (all) => new Map([...all].filter(([, one]) => isNew(one))).set(key, { at, value }))
        return value
      })
  )

/**
 * What is to be priced.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly payer: Address
  readonly asset: Asset
  readonly units: bigint
  readonly transfers: ReadonlyArray<Transfer>
  /** Of another transaction than one that makes transfers. */
  readonly gas?: Gas | undefined
  readonly calls: ReadonlyArray<TempoUnsigned.Call>
  /** Absent where the merchant pays the fee. */
  readonly feeToken: Asset | undefined
  /** Seconds since the epoch. */
  readonly validBefore: number
}

/**
 * The limits of a transaction, and the chain's own time (seconds since the epoch).
 *
 * @category models
 * @since 0.1.0
 */
export interface Quote {
  readonly gas: bigint
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
  readonly chainTime: number
}

/** The form in which nodes take a transaction that is not signed. */
const proposal = ({ calls, feeToken, payer, validBefore }: Wanted) => ({
  from: payer,
  type: "0x76",
  calls: calls.map(({ data, to }) => ({ to, value: "0x0", data })),
  nonce: "0x0",
  nonceKey: numberToHex(TempoUnsigned.expiringNonceKey),
  validBefore: numberToHex(validBefore),
  ...(feeToken === undefined ? {} : { feeToken: feeToken.address })
})

const estimate = Effect.fnUntraced(function*(
  node: Chain.Node,
  wanted: Wanted
): Effect.fn.Return<Option.Option<bigint>, ChainError> {
  const { calls } = wanted
  const all = node.estimateGas(proposal(wanted))
  if (calls.length <= countedAnyway) return yield* all
  const one = node.estimateGas(proposal({ ...wanted, calls: calls.slice(0, 1) }))
  const [ofAll, ofOne] = yield* Effect.all([all, one], { concurrency: "unbounded" })
  const counts = Option.isSome(ofAll) && Option.isSome(ofOne) && ofAll.value > ofOne.value
  return counts ? ofAll : Option.none()
})

const smaller = (one: bigint, other: bigint) => one < other ? one : other
const larger = (one: bigint, other: bigint) => one > other ? one : other

/** Merchants are seen to pay the fee for no more than this, at the price of today's main network. */
const sponsored = 1_600_000n

/** A tenth more than was estimated, within bounds. */
const limit = ({ feeToken, gas, transfers }: Wanted, estimated: Option.Option<bigint>): bigint => {
  const { least, most, ordinary } = gas ?? gasOf(transfers.length)
  const wanted = Option.match(estimated, { onNone: () => ordinary, onSome: (gas) => (gas * 11n) / 10n + 10_000n })
  const bound = feeToken === undefined ? larger(ordinary, smaller(most, sponsored)) : most
  return larger(least, smaller(wanted, bound))
}

/**
 * Makes the source of prices. Each quote asks for what is not known at once, in one round trip.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  nodes: Chain.Chain["Service"]["nodes"],
  priorityFee: bigint
) {
  const head = yield* recently<Chain.Block>(keep.head)
  const estimates = yield* recently<Option.Option<bigint>>(keep.gas)
  const balance = yield* recently<bigint>(keep.balance)

  /** The first node that answers. */
  const ask = <A>(network: string, question: (node: Chain.Node) => Effect.Effect<A, ChainError>) => {
    const [first, ...others] = nodes(network).map(question)
    return first === undefined
      ? Effect.fail(new ChainError({ network, operation: "quote", detail: "no RPC is configured" }))
      : Effect.firstSuccessOf([first, ...others])
  }

  const held = ({ network, address }: Asset, payer: Address, needed: bigint) =>
    balance(
      `${network} ${address} ${payer}`,
      ask(network, (node) => Eip3009.balance(node, hexOf(address), payer)),
      (available) => available >= ample * needed
    ).pipe(Effect.timeoutOption(balanceWithin), Effect.orElseSucceed(Option.none<bigint>))

  return {
    /** What a payment may cost; or that it cannot be paid, where the payer lacks the money. */
    quote: Effect.fnUntraced(function*(wanted: Wanted): Effect.fn.Return<Quote, ChainError | InsufficientFunds> {
      const { asset, calls, feeToken, payer, transfers, units } = wanted
      const { network } = asset
      const fail = (detail: string) => new ChainError({ network, operation: "quote", detail })
      const key = [network, asset.address, feeToken?.address ?? "", payer, ...kindsOf(transfers, calls)].join()

      const [block, estimated, available, forFee] = yield* Effect.all([
        head(network, ask(network, (node) => node.block("latest"))),
        Effect.result(estimates(key, ask(network, (node) => estimate(node, wanted)))),
        held(asset, payer, units),
        feeToken === undefined || feeToken.address === asset.address
          ? Effect.succeedNone
          : held(feeToken, payer, ordinaryFee)
      ], { concurrency: "unbounded" })

      const { baseFeePerGas, timestamp } = block
      if (baseFeePerGas === undefined) return yield* fail("the chain has no price of gas")
      if (baseFeePerGas + priorityFee > highestFeePerGas) return yield* fail("gas is dearer than it can be")
      const maxFeePerGas = smaller((baseFeePerGas * 3n) / 2n + priorityFee, highestFeePerGas)
      const gas = Result.isSuccess(estimated)
        ? limit(wanted, estimated.success)
        : (wanted.gas ?? gasOf(transfers.length)).least

      const lacking = (asset: Asset, available: Option.Option<bigint>, needed: bigint) =>
        Option.isSome(available) && available.value < needed
          ? Effect.fail(new InsufficientFunds({ network, asset: asset.symbol, needed, available: available.value }))
          : Effect.void
      const fee = feeToken === undefined ? 0n : (gas * maxFeePerGas) / weiPerMicroDollar + 1n
      const isSame = feeToken === undefined || feeToken.address === asset.address
      yield* lacking(asset, available, isSame ? units + fee : units)
      if (!isSame) yield* lacking(feeToken, forFee, fee)
      // Told last: it fails, too, for want of money.
      if (Result.isFailure(estimated)) return yield* estimated.failure
      return { gas, maxFeePerGas, maxPriorityFeePerGas: priorityFee, chainTime: Number(timestamp) }
    })
  }
})

/** Estimates are shared by transactions that do the same to the same. */
const kindsOf = (transfers: ReadonlyArray<Transfer>, calls: ReadonlyArray<TempoUnsigned.Call>) =>
  transfers.length > 0 ? transfers.map(({ to }) => to) : calls.map(({ data, to }) => `${to}${data.slice(0, 10)}`)

const weiPerMicroDollar = 10n ** 12n

const hexOf = (address: string): Hex => `0x${address.replace(/^0x/i, "")}`
