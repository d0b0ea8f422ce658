/**
 * Transfers of a token on Tempo as they are found in the calls of a transaction and in the logs of its receipt, and whether
 * they are those that a charge asks for.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Address, Hex } from "viem"
import { toEventSelector, toFunctionSelector } from "viem/utils"
import type * as Chain from "../../Chain.ts"
import * as TempoCharge from "../../wire/mpp/TempoCharge.ts"

/**
 * A transfer that a transaction makes, or made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moved {
  readonly from: Address
  readonly to: Address
  readonly units: bigint
  readonly memo?: Hex
}

/**
 * What a charge asks for: the primary transfer first, whose memo is that of a client without a name.
 *
 * @category models
 * @since 0.1.0
 */
export type Wanted = ReturnType<typeof TempoCharge.transfers>

/**
 * The transfers that answer a challenge.
 *
 * @category constructors
 * @since 0.1.0
 */
export const wanted = (
  request: TempoCharge.Request,
  challenge: { readonly id: string; readonly realm: string }
): Wanted =>
  TempoCharge.transfers(request, TempoCharge.attribution({ realm: challenge.realm, challengeId: challenge.id }))

// ---------------------------------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------------------------------

const isSame = (one: string, other: string) => one.toLowerCase() === other.toLowerCase()

/** An address in a word of 32 bytes, whose other bytes are zero. */
const addressIn = (word = ""): Option.Option<Address> => {
  const digits = /^0{24}([0-9a-f]{40})$/.exec(word)?.[1]
  return Option.map(Option.fromUndefinedOr(digits), (digits): Address => `0x${digits}`)
}

const transferCall = toFunctionSelector("transfer(address,uint256)")
const memoCall = toFunctionSelector("transferWithMemo(address,uint256,bytes32)")

/** The selector, and the words of 32 bytes that follow; nothing may be left over. */
const callData = /^(0x[0-9a-f]{8})([0-9a-f]{64})([0-9a-f]{64})([0-9a-f]{64})?$/

/**
 * The transfer that a call of a token makes; none for every other call, and for one that is written in another form than
 * the shortest.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromCall = (
  token: string,
  from: Address,
  call: { readonly to: Address | undefined; readonly value: bigint; readonly data: Hex }
): Option.Option<Moved> => {
  const [, selector, to, units, memo] = callData.exec(call.data.toLowerCase()) ?? []
  const isTransfer = memo === undefined ? selector === transferCall : selector === memoCall
  if (!isTransfer || call.to === undefined || !isSame(call.to, token) || call.value !== 0n) return Option.none()
  return Option.map(addressIn(to), (to): Moved => ({
    from,
    to,
    units: BigInt(`0x${units}`),
    ...(memo === undefined ? {} : { memo: `0x${memo}` })
  }))
}

const transferEvent = toEventSelector("Transfer(address,address,uint256)")
const memoEvent = toEventSelector("TransferWithMemo(address,address,uint256,bytes32)")

const fromLog = ({ data, topics }: Chain.Log): Option.Option<Moved> => {
  const [event, ...indexed] = topics.map((topic) => topic.toLowerCase())
  const [from, to, memo] = indexed
  const hasMemo = event === memoEvent && memo !== undefined && indexed.length === 3
  if (!hasMemo && !(event === transferEvent && indexed.length === 2)) return Option.none()
  if (!/^0x[0-9a-f]{64}$/i.test(data)) return Option.none()
  return Option.map(
    Option.all([addressIn(from?.slice(2)), addressIn(to?.slice(2))]),
    ([from, to]): Moved => ({ from, to, units: BigInt(data), ...(hasMemo ? { memo: `0x${memo.slice(2)}` } : {}) })
  )
}

const areAlike = (one: Moved, other: Moved) =>
  one.from === other.from && one.to === other.to && one.units === other.units

/**
 * The transfers of a token that a receipt shows. One with a memo has two logs: that of every transfer, and one of its own.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromLogs = (token: string, logs: ReadonlyArray<Chain.Log>): ReadonlyArray<Moved> => {
  const moved = logs.filter(({ address }) => isSame(address, token)).flatMap((log) => Option.toArray(fromLog(log)))
  const withMemo = moved.filter(({ memo }) => memo !== undefined)
  const plain = moved.filter(({ memo }) => memo === undefined)
  for (const transfer of withMemo) {
    const at = plain.findIndex((other) => areAlike(transfer, other))
    if (at >= 0) plain.splice(at, 1)
  }
  return [...withMemo, ...plain]
}

// ---------------------------------------------------------------------------------------------------------------------
// Judging
// ---------------------------------------------------------------------------------------------------------------------

/** A memo without the part that names the client: tag, version and realm before it, the challenge behind it. */
const withoutClient = (memo: string) => `${memo.slice(0, 32)}${memo.slice(52)}`.toLowerCase()

/** The primary transfer is bound to its challenge; a split is free to have a memo where none is asked for. */
const hasMemo = (asked: TempoCharge.Transfer, isPrimary: boolean, { memo }: Moved): boolean => {
  if (asked.memo === undefined) return true
  if (memo === undefined) return false
  return isPrimary ? withoutClient(memo) === withoutClient(asked.memo) : isSame(memo, asked.memo)
}

/**
 * Whether transfers are, or include, all of those that are asked for, each of them made by `from`.
 *
 * @category predicates
 * @since 0.1.0
 */
export const cover = (wanted: Wanted, moved: ReadonlyArray<Moved>, from: Address): boolean => {
  const [primary, ...splits] = wanted
  const left = moved.filter((transfer) => isSame(transfer.from, from))
  // What may have any memo, or none, takes what the others leave.
  const choosy = splits.toSorted((one, other) => Number(one.memo === undefined) - Number(other.memo === undefined))
  return [primary, ...choosy].every((asked) => {
    const at = left.findIndex((transfer) =>
      isSame(transfer.to, asked.to) && transfer.units === asked.units && hasMemo(asked, asked === primary, transfer)
    )
    if (at >= 0) left.splice(at, 1)
    return at >= 0
  })
}
